"""The host's side of a pod in Docker: starts its containers, serves the worker's requests, removes everything."""

from __future__ import annotations

import base64
import contextlib
import io
import queue
import secrets
import tarfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from autograder.errors import GraderError
from autograder.pods.docker import boxes
from autograder.pods.docker.engine import OURS, Engine, failures, labels, of_pod, remove
from autograder.pods.docker.talk import Ask, Signal, Start, Tell
from autograder.pods.images import Found
from autograder.pods.program import MiB
from autograder.pods.runtime import Seat

PACKAGE = Path(__file__).resolve().parents[2]
PODS = PACKAGE / "pods"
INCOMING = "/grader/incoming"
ASK = b'{"ask":'
STDOUT = 1


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
        self.engine, self.images, self.notes = engine, images, notes
        self.labels = labels(lock)
        self._lock_file, self._submission, self._program = lock, submission, worker
        self.user = boxes.FIRST_USER + 2 * secrets.randbelow(boxes.USERS // 2)
        self.seat = Seat("docker", Path(INCOMING), Path("/pod"), True, self.user, 1)
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._services: dict[int, Container] = {}
        self._tasks = ThreadPoolExecutor(8)
        self._talk = threading.Lock()
        self._worker: Any = None
        self._yard: Any = None
        self._failed = ""
        self.errors = b""

    def open(self) -> None:
        """Starts the worker's container, and the one for student programs. Raises GraderError."""
        with failures("making the pod's volumes"):
            for name, size in boxes.VOLUMES.items():
                mode = "1777" if name == "tmp" else "755"
                self.engine.client.volumes.create(
                    self._volume(name),
                    driver="local",
                    driver_opts={
                        "type": "tmpfs",
                        "device": "tmpfs",
                        "o": f"size={size},nr_inodes=20000,mode={mode},nosuid,nodev",
                    },
                    labels=self.labels,
                )
        with failures("starting the worker"):
            self._worker = self._create("python", boxes.worker(self._volume, self._program.module))
            self._worker.put_archive("/", _course(self._submission, self._program.beside))
            self._socket = self._attach(self._worker, stdin=True)
            self._worker.start()
        self._tasks.submit(self._listen)
        self._tasks.submit(self._open_yard)

    def _volume(self, name: str) -> str:
        return f"model-deployment-{self.labels[OURS]}-{name}"

    def _create(self, image: str, how: dict[str, Any]) -> Any:
        return self.engine.containers.create(self.images[image].id, network=None, labels=self.labels, **how)

    def _attach(self, container: Any, *, stdin: bool = False) -> Any:
        params = {"stdin": int(stdin), "stdout": 1, "stderr": 1, "stream": 1}
        return self.engine.client.api.attach_socket(container.id, params)

    def _open_yard(self) -> None:
        try:
            with failures("starting the container for student programs"):
                self._worker.put_archive("/pod/course", _agent())
                how = boxes.yard(self._volume, self.user, self._worker.id, self.engine.cores)
                self._yard = self._create("python", how)
                self._yard.start()
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
            for stream, chunk in _frames(self._socket):
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
            getattr(self._socket, "_sock", self._socket).sendall(data)

    def _serve(self, line: bytes) -> None:
        try:
            ask = Ask.model_validate_json(line[len(ASK) : -1])
        except ValidationError as error:
            raise GraderError(f"The worker asks for what nobody understands: {error}") from error
        if ask.start is not None:
            container = self._services[ask.start.id] = Container(self, ask.start)
            threading.Thread(target=container.attend, name=f"service {ask.start.id}", daemon=True).start()
        elif ask.signal is not None:
            self.submit(self._services[ask.signal.id].signal, ask.signal)

    def submit(self, do: Callable[[Signal], None], signal: Signal) -> None:
        """Sends a signal without waiting for it."""
        with contextlib.suppress(RuntimeError):  # the pod is being removed
            self._tasks.submit(do, signal)

    def tell(self, told: Tell) -> None:
        """Sends the worker a line; one that is gone hears nothing."""
        with contextlib.suppress(OSError):
            self._write(told.model_dump_json(exclude_none=True).encode() + b"\n")

    # -- the end -----------------------------------------------------------------------------------------------------

    def intact(self) -> bool:
        """Whether the engine, and the container for student programs, outlived the worker."""
        if self._failed or any(service.lost for service in self._services.values()) or not self.engine.answers():
            return False
        try:
            with failures("looking after the pod"):
                if self._yard is None:
                    return True
                self._yard.reload()
                return bool(self._yard.attrs["State"]["ExitCode"] == 0)
        except GraderError:
            return False

    def close(self) -> None:
        """Removes every container and volume of the pod; returns when they are gone, or the engine is."""
        from docker.errors import DockerException
        from requests import RequestException

        with contextlib.suppress(DockerException, RequestException, OSError):
            remove(*of_pod(self.engine, self._lock_file))
            self._tasks.shutdown()
            remove(*of_pod(self.engine, self._lock_file))  # what a task was still making meanwhile
        self._tasks.shutdown(wait=False, cancel_futures=True)

    def trace(self) -> str:
        """What an instructor needs when something failed here: the reason, and the end of the worker's errors."""
        return "\n".join(part for part in (self._failed, self.errors.decode("utf-8", "replace").strip()) if part)


class Container:
    """A service's container, on behalf of the worker."""

    def __init__(self, steward: Steward, start: Start) -> None:
        self._steward, self._start = steward, start
        self._made: Any = None
        self._killed = False
        self._stopped = ""
        self._lock = threading.Lock()
        self.lost = ""

    def attend(self) -> None:
        """Starts it, passes on what it prints, and tells how it ended."""
        start, steward = self._start, self._steward
        try:
            with failures(f"the container for {start.service}"):
                self._run()
                state = self._made.wait(timeout=None)
                self._made.reload()
                if self._made.attrs["State"]["OOMKilled"]:
                    self._stopped = self._stopped or f"used more than {start.limits.memory // MiB} MiB of memory"
                remove([self._made], [])
            steward.tell(Tell(id=start.id, exit_code=int(state["StatusCode"]), stopped=self._stopped))
        except (GraderError, KeyError) as error:
            self.lost = str(error)
            steward.tell(Tell(id=start.id, lost=self.lost))

    def _run(self) -> None:
        start, steward = self._start, self._steward
        if start.service not in steward.images:
            raise GraderError(f"There is no image for {start.service}.")
        user, namespace = steward.user + start.ours, steward._worker.id
        made = steward._create(
            start.service, boxes.service(start, steward._volume, user, namespace, steward.engine.cores)
        )
        output = steward._attach(made)
        with self._lock:
            self._made = made
            if self._killed:
                return
            made.start()
        size = 0
        timer = None
        if start.limits.seconds is not None:
            timer = threading.Timer(
                start.limits.seconds, self._end, [f"was still running after {start.limits.seconds:g} seconds"]
            )
            timer.start()
        for stream, chunk in _frames(output):
            size += len(chunk)
            if size > start.limits.output:  # the rest is read all the same: its end waits for that
                self._end(f"printed more than {start.limits.output // MiB} MiB")
                continue
            content = base64.b64encode(chunk)
            told = Tell(id=start.id, out=content) if stream == STDOUT else Tell(id=start.id, err=content)
            steward.tell(told)
        if timer is not None:
            timer.cancel()

    def signal(self, signal: Signal) -> None:
        """Passes a signal on; what has ended already hears none."""
        with self._lock:
            if signal.name == "SIGKILL":
                self._killed = True
            if self._made is not None:
                with contextlib.suppress(GraderError), failures("sending a signal"):
                    self._made.kill(signal.name)

    def _end(self, why: str) -> None:
        if not self._stopped:
            self._stopped = why
            # Not in this thread, which has to go on reading: the engine ends nothing whose output nobody takes.
            self._steward.submit(self.signal, Signal(id=self._start.id, name="SIGKILL"))


def _frames(attached: Any) -> Iterator[tuple[int, bytes]]:
    """The stream's number and the bytes of everything that a container prints, to its end."""
    from docker.utils.socket import frames_iter

    yield from frames_iter(attached, tty=False)


def _course(submission: Path, beside: tuple[Path, ...]) -> bytes:
    """The grader's package and the submission, as the worker's container holds them."""

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
    return content.getvalue()


def _agent() -> bytes:
    """What the container for student programs runs."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add(PODS / "docker" / "agent.py", ".agent/agent.py", filter=_plain)
        archive.add(PODS / "sandbox.py", ".agent/sandbox.py", filter=_plain)
    return content.getvalue()


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Ours, and nobody's in particular."""
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mode = 0o755 if info.isdir() or info.mode & 0o100 else 0o644
    return info
