"""A program in a container of its own: starts it, passes on what it prints, keeps its limits, tells how it ended."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import replace
from typing import Any, Protocol

from autograder.errors import GraderError
from autograder.pods.docker import boxes
from autograder.pods.docker.engine import Engine, failures, remove
from autograder.pods.docker.talk import Signal, Start, Tell
from autograder.pods.images import Found
from autograder.pods.program import MiB

STDOUT = 1


class Home(Protocol):
    """The pod that a container belongs to, from the host's side.

    Attributes:
        engine: where.
        images: what the engine has, by name; a student's by the number of its build.
        namespace: the container whose network it shares.
    """

    engine: Engine
    images: dict[str, Found]

    @property
    def namespace(self) -> str: ...

    def who(self, ours: bool) -> str:
        """The user and group of the student's programs, or of the course's own, as numbers: ``20000:20000``."""

    def create(self, image: str, how: dict[str, Any]) -> Any:
        """Makes a container of an image, by its name in the catalogue, and starts nothing."""

    def mounts(self, below: str) -> list[Any]:
        """The pod's folders, below a path in the container."""

    def tell(self, told: Tell) -> None:
        """Hears what a container printed, or how it ended."""

    def submit(self, do: Callable[[Signal], None], signal: Signal) -> None:
        """Sends a signal without waiting for it."""


class Container:
    """A service's container, on behalf of the worker."""

    def __init__(self, home: Home, start: Start) -> None:
        self._home, self._start = home, start
        self._made: Any = None
        self._held: Future[tuple[Any, Any]] | None = None
        self._killed = False
        self._stopped = ""
        self._lock = threading.Lock()
        self.lost = ""

    def hold(self, tasks: Executor, begun: threading.Event) -> None:
        """Has its container made already, started with ``begun``, and its program wait in there for ``attend``."""
        self._held = tasks.submit(self._make, begun)

    def fits(self, start: Start) -> bool:
        """Whether it is just what is asked for, but for the number."""
        return start == replace(self._start, id=start.id)

    def attend(self, start: Start | None = None) -> None:
        """Starts it, passes on what it prints, and tells how it ended."""
        start, home = start or self._start, self._home
        self._start = start
        try:
            with failures(f"the container for {start.service}"):
                self._run()
                state = self._made.wait(timeout=None)
                self._made.reload()
                if self._made.attrs["State"]["OOMKilled"]:
                    self._stopped = self._stopped or f"used more than {start.limits.memory // MiB} MiB of memory"
                remove([self._made], [])
            home.tell(Tell(id=start.id, exit_code=int(state["StatusCode"]), stopped=self._stopped))
        except (GraderError, KeyError) as error:
            self.lost = str(error)
            home.tell(Tell(id=start.id, lost=self.lost))

    def _make(self, begun: threading.Event | None = None) -> tuple[Any, Any]:
        """Its container, and a connection to it; started, with its program held in there, where there is ``begun``."""
        start, home = self._start, self._home
        image = start.built or start.service
        if image not in home.images:
            raise GraderError(f"There is no image for {image}.")
        user, mounts = home.who(start.ours), home.mounts("/")
        how = boxes.service(start, mounts, user, home.namespace, home.engine.cores, held=begun is not None)
        made = home.create(image, how)
        connection = attach(home.engine, made, stdin=begun is not None)
        if begun is not None:
            begun.wait()
            made.start()
        return made, connection

    def _run(self) -> None:
        start, home = self._start, self._home
        made, output = self._held.result() if self._held else self._make()
        with self._lock:
            self._made = made
            if self._killed:
                if self._held:
                    made.kill()
                return
            if self._held:
                send(output, b"go\n")
            else:
                made.start()
        size = 0
        timer = None
        if start.limits.seconds is not None:
            timer = threading.Timer(
                start.limits.seconds, self._end, [f"was still running after {start.limits.seconds:g} seconds"]
            )
            timer.start()
        for stream, chunk in frames(output):
            size += len(chunk)
            if size > start.limits.output:  # the rest is read all the same: its end waits for that
                self._end(f"printed more than {start.limits.output // MiB} MiB")
                continue
            home.tell(Tell(id=start.id, out=chunk) if stream == STDOUT else Tell(id=start.id, err=chunk))
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
            self._home.submit(self.signal, Signal(id=self._start.id, name="SIGKILL"))


def attach(engine: Engine, container: Any, *, stdin: bool = False) -> Any:
    """A connection to what a container reads and prints."""
    params = {"stdin": int(stdin), "stdout": 1, "stderr": 1, "stream": 1}
    return engine.client.api.attach_socket(container.id, params)


def send(attached: Any, data: bytes) -> None:
    """Writes to what a container reads."""
    getattr(attached, "_sock", attached).sendall(data)


def frames(attached: Any) -> Iterator[tuple[int, bytes]]:
    """The stream's number and the bytes of everything that a container prints, to its end."""
    from docker.utils.socket import frames_iter

    yield from frames_iter(attached, tty=False)
