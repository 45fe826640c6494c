"""The host's side of a pod in Docker: starts its containers, serves the worker's requests, removes everything."""

from __future__ import annotations

import contextlib
import io
import queue
import secrets
import tarfile
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from autograder.errors import GraderError
from autograder.pods.docker import boxes
from autograder.pods.docker.builder import Builder
from autograder.pods.docker.container import STDOUT, Container, attach, frames, send
from autograder.pods.docker.engine import (
    OURS,
    Engine,
    failures,
    filters_of,
    labels,
    of_pod,
    remove,
    remove_images,
    sweep,
)
from autograder.pods.docker.pod import described
from autograder.pods.docker.talk import Ask, Made, Signal, Tell
from autograder.pods.images import Found, Image
from autograder.pods.program import Program
from autograder.pods.runtime import Seat

PACKAGE = Path(__file__).resolve().parents[2]
INCOMING = "/grader/incoming"
ASK = b'{"ask":'
READER = TypeAdapter(Ask)


@dataclass(frozen=True)
class Worker:
    """The program inside: a module that reads its job from the first line of standard input.

    Attributes:
        module: its name.
        beside: folders that are put beside the grader's package.
    """

    module: str = "autograder.worker"
    beside: tuple[Path, ...] = ()


class Steward:
    """One pod's containers, from their making to their removal: a ``Session``."""

    def __init__(
        self,
        engine: Engine,
        images: dict[str, Found],
        lock: Path,
        submission: Path,
        notes: tuple[str, ...],
        worker: Worker,
    ) -> None:
        """
        Args:
            engine: where.
            images: what the engine has of what the lab needs, by name.
            lock: the file whose lock this run holds.
            submission: a copy of the submission that was taken in.
            notes: what is to be said about the taking in.
            worker: the program that runs inside.
        """
        self.engine, self.images, self.notes = engine, dict(images), notes
        self.labels = labels(lock)
        self._lock_file, self._submission, self._program = lock, submission, worker
        self.user = boxes.FIRST_USER + 2 * secrets.randbelow(boxes.USERS // 2)
        self.seat = Seat("docker", Path(INCOMING), Path("/pod"), True, self.user, 1)
        self._builder = Builder(engine, images["python"].id, self.labels, submission, self.user)
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._services: dict[int, Container] = {}
        self._tasks = ThreadPoolExecutor(8)
        self._talk = threading.Lock()
        self._worker: Any = None
        self._yard: Future[Any] | None = None
        self._first: Container | None = None
        self._secret = secrets.token_hex(16)
        self._failed = ""
        self.errors = b""

    def open(self, first: Program | None = None) -> None:
        """Starts the worker's container, makes the others that it will ask for, and sweeps what killed runs left.

        Args:
            first: a service that the worker will ask for; its container waits for that.

        Raises:
            GraderError: the engine failed.
        """
        with failures("making the pod's volumes"):
            list(self._tasks.map(self._make_volume, boxes.VOLUMES))
        begun = threading.Event()  # the worker's container runs, and its network can be joined
        with failures("starting the worker"):
            self._worker = self.create("python", boxes.worker(self.mounts("/pod/"), self._program.module, self._secret))
            self._socket = attach(self.engine, self._worker, stdin=True)
            meanwhile: list[Future[Any]] = [
                self._tasks.submit(lambda: self._write(_course(self._submission, self._program.beside))),
                self._tasks.submit(sweep, self.engine),
            ]
            self._yard = self._tasks.submit(self._make_yard)
            if first is not None:
                self._first = Container(self, described(first, 0))
                self._first.hold(self._tasks, begun)
            try:
                self._worker.start()
            finally:
                begun.set()
            self._tasks.submit(self._listen)
            for task in meanwhile:
                task.result()

    def _make_volume(self, name: str) -> None:
        mode = "1777" if name == "tmp" else "755"
        options = f"size={boxes.VOLUMES[name]},nr_inodes=20000,mode={mode},nosuid,nodev"
        self.engine.client.volumes.create(
            self._volume(name),
            driver="local",
            driver_opts={"type": "tmpfs", "device": "tmpfs", "o": options},
            labels=self.labels,
        )

    def _volume(self, name: str) -> str:
        return f"model-deployment-{self.labels[OURS]}-{name}"

    @property
    def namespace(self) -> str:
        return str(self._worker.id)

    def who(self, ours: bool) -> str:
        return f"{self.user + ours}:{self.user + ours}"

    def create(self, image: str, how: dict[str, Any]) -> Any:
        return self.engine.containers.create(self.images[image].id, network=None, labels=self.labels, **how)

    def mounts(self, below: str) -> list[Any]:
        from docker.types import Mount

        return [Mount(below + name, self._volume(name), no_copy=True) for name in boxes.VOLUMES]

    def _make_yard(self) -> Any:
        how = boxes.yard(self.mounts("/"), self.who(ours=False), self.namespace, self.engine.cores, self._secret)
        return self.create("python", how)

    def _open_yard(self) -> None:
        assert self._yard is not None
        try:
            with failures("starting the container for student programs"):
                self._yard.result().start()
        except GraderError as error:
            self._failed = error.saw
            remove([self._worker], [])

    # -- the worker's lines ------------------------------------------------------------------------------------------

    def lines(self, job: str, deadline: float) -> Generator[bytes]:
        """Gives the worker its job and yields what it writes, until its end or the deadline."""
        with contextlib.suppress(OSError):  # then it ends, and so do its lines
            self._write(job.encode() + b"\n")
        while (left := deadline - time.monotonic()) > 0:
            try:
                line = self._lines.get(timeout=left)
            except queue.Empty:
                return
            if line is None:
                return
            if line.startswith(ASK):
                self._serve(line)
            else:
                yield line

    def _listen(self) -> None:
        """Reads what the worker prints, to its end."""
        pending = b""
        try:
            for stream, chunk in frames(self._socket):
                if stream != STDOUT:
                    self.errors = (self.errors + chunk)[-20_000:]
                    continue
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    self._lines.put(line)
        except OSError as error:
            self._failed = self._failed or f"the connection to the worker broke: {error}"
        finally:
            self._lines.put(None)

    def _write(self, data: bytes) -> None:
        with self._talk:
            send(self._socket, data)

    def _serve(self, line: bytes) -> None:
        try:
            ask = READER.validate_json(line[len(ASK) : -1])
        except ValidationError as error:
            raise GraderError(f"The worker asks for what nobody understands: {error}") from error
        if ask.start is not None:
            if self._first is not None and self._first.fits(ask.start):
                container, self._first = self._first, None
            else:
                container = Container(self, ask.start)
            self._services[ask.start.id] = container
            name = f"service {ask.start.id}"
            threading.Thread(target=container.attend, args=(ask.start,), name=name, daemon=True).start()
        elif ask.yard:
            self._tasks.submit(self._open_yard)
        elif ask.make is not None:
            self._builder.begin(ask.make, self._made, self._not_made)
        elif ask.signal is not None:
            self.submit(self._services[ask.signal.id].signal, ask.signal)

    def _made(self, number: int, made: Made) -> None:
        if not made.problem:
            built = self._builder.images[number]
            self.images[str(number)] = Found(Image(str(number), "The student's image"), built, built, False)
        self.tell(Tell(id=number, made=made))

    def _not_made(self, number: int, why: str) -> None:
        self.tell(Tell(id=number, lost=why))

    def submit(self, do: Callable[[Signal], None], signal: Signal) -> None:
        """Sends a signal without waiting for it."""
        with contextlib.suppress(RuntimeError):  # the pod is being removed
            self._tasks.submit(do, signal)

    def tell(self, told: Tell) -> None:
        """Sends the worker a line; one that is gone hears nothing."""
        with contextlib.suppress(OSError):
            self._write(told.line().encode() + b"\n")

    # -- the end -----------------------------------------------------------------------------------------------------

    def intact(self) -> bool:
        """Whether the engine, and the container for student programs, outlived the worker."""
        if self._failed or any(service.lost for service in self._services.values()) or not self.engine.answers():
            return False
        try:
            with failures("looking after the pod"):
                if self._yard is None:
                    return True
                yard = self._yard.result()
                yard.reload()
                return bool(yard.attrs["State"]["ExitCode"] == 0)
        except GraderError:
            return False

    def close(self) -> None:
        """Removes every container, volume and image of the pod; returns when they are gone, or the engine is."""
        from docker.errors import DockerException
        from requests import RequestException

        self._builder.close()
        with contextlib.suppress(DockerException, RequestException, OSError):
            remove(*of_pod(self.engine, self._lock_file))
            self._tasks.shutdown()
            self._builder.join()
            remove(*of_pod(self.engine, self._lock_file))  # what a task was still making meanwhile
            remove_images(self.engine, filters_of(self._lock_file))
        self._tasks.shutdown(wait=False, cancel_futures=True)

    def trace(self) -> str:
        """What an instructor needs when something failed here: the reason, and the end of the worker's errors."""
        return "\n".join(part for part in (self._failed, self.errors.decode("utf-8", "replace").strip()) if part)


def _course(submission: Path, beside: tuple[Path, ...]) -> bytes:
    """The grader's package and the submission for the worker's container: a line with its size, and an archive."""

    def kept(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if info.name.endswith(("/alternatives", "/modelserver", "/recipes", "/classroom")):
            return None
        return _plain(info)

    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add(PACKAGE, "grader/autograder", filter=kept)
        for folder in beside:
            archive.add(folder, f"grader/{folder.name}", filter=_plain)
        archive.add(submission, INCOMING[1:], filter=_plain)
    return b"%d\n%b" % (content.tell(), content.getvalue())


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Ours, and nobody's in particular."""
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mode = 0o755 if info.isdir() or info.mode & 0o100 else 0o644
    return info
