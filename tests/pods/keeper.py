"""A pod behind walls, driven from outside of them: both ends of a socket.

A local pod with namespaces can only be made inside its outer walls. So ``host`` stands where a grader stands: it makes
the folder and enters the walls; ``keep`` makes the pod inside, and does to it what the test at the other end says.

A pod in Docker stands apart likewise: ``docker`` is where a grader stands, and ``-`` the worker inside.

    python -P -m pods.keeper host|keep|docker '{"descriptor": 3, …}'
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import sys
import tempfile
import threading
import time
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from typing import Any

from autograder.pods import (
    SERVICE,
    Build,
    Built,
    Finished,
    LocalPod,
    Pod,
    Program,
    Running,
    Walls,
    enter,
    pod_folder,
    walls,
)
from autograder.pods.docker.pod import DockerPod, lines


class RemotePod(Pod):
    """The test's end: a pod whose every method is carried out by the keeper."""

    runtime = "local"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.isolation = self._ask("isolation")

    def start(self, program: Program) -> Running:
        return RemoteRunning(self, self._ask("start", program))

    def build(self, build: Build) -> Built:
        built = self._ask("build", build)
        assert isinstance(built, Built)
        return built

    def inside(self, path: str) -> str:
        return str(self._ask("inside", path))

    def outside(self, path: str) -> Path:
        return Path(self._ask("outside", path))

    def grant(self, path: str) -> None:
        self._ask("grant", path)

    def close(self) -> None:
        self._ask("close")

    def share(self, memory: int) -> None:
        """Bounds what all of the student's programs use together."""
        self._ask("share", memory)

    def open(self, path: str, flags: int = os.O_RDONLY) -> int:
        self._ask("open", path, flags)
        return recv_handle(self._connection)

    def _ask(self, name: str, *arguments: Any) -> Any:
        self._connection.send((name, arguments))
        answer, error = self._connection.recv()
        if error is not None:
            raise error
        return answer


class RemoteRunning:
    """A program that runs in a remote pod."""

    def __init__(self, pod: RemotePod, number: int) -> None:
        self._pod, self._number = pod, number

    @property
    def alive(self) -> bool:
        return bool(self._do("alive"))

    def log(self) -> str:
        return str(self._do("log"))

    def wait(self, seconds: float | None = None) -> Finished | None:
        found = self._do("wait", seconds)
        assert found is None or isinstance(found, Finished)
        return found

    def terminate(self) -> None:
        self._do("terminate")

    def kill(self, why: str = "") -> None:
        self._do("kill", why)

    def finished(self) -> Finished:
        found = self._do("finished")
        assert isinstance(found, Finished)
        return found

    def _do(self, name: str, *arguments: Any) -> object:
        return self._pod._ask("running", self._number, name, arguments)


class Keeper:
    """The pod's end: does what it is asked, until nobody is there to ask."""

    def __init__(self, connection: Connection, pod: Pod) -> None:
        self._connection, self._pod = connection, pod
        self._running: list[Running] = []

    def serve(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                name, arguments = self._connection.recv()
                handle = None
                try:
                    answer = getattr(self, name)(*arguments) if hasattr(self, name) else self._of_pod(name, arguments)
                    if name == "open":
                        handle, answer = answer, None
                except Exception as error:
                    self._connection.send((None, error))
                else:
                    self._connection.send((answer, None))
                if handle is not None:
                    send_handle(self._connection, handle, os.getpid())
                    os.close(handle)

    def _of_pod(self, name: str, arguments: tuple[Any, ...]) -> Any:
        found = getattr(self._pod, name)
        return found(*arguments) if callable(found) else found

    def start(self, program: Program) -> int:
        self._running.append(self._pod.start(program))
        return len(self._running) - 1

    def share(self, memory: int) -> None:
        self._pod._share.most = memory  # type: ignore[attr-defined]

    def running(self, number: int, name: str, arguments: tuple[Any, ...]) -> Any:
        found = getattr(self._running[number], name)
        return found(*arguments) if callable(found) else found


def host(descriptor: int, namespaces: bool, user: int | None) -> None:
    """Where a grader stands: a folder, and the walls around what makes the pod in it."""
    built = walls() if namespaces else Walls(namespaces=False, user=user)
    with pod_folder() as folder:
        told = json.dumps({"descriptor": descriptor, "folder": str(folder), "walls": dataclasses.asdict(built)})
        process, lifeline = enter([sys.executable, "-P", "-m", "pods.keeper", "keep", told], built, (descriptor,))
        os.close(descriptor)
        process.wait()
        os.close(lifeline)


def keep(descriptor: int, folder: str, walls: dict[str, Any]) -> None:
    os.set_inheritable(descriptor, False)
    with LocalPod(Path(folder), Walls(**walls)) as pod:
        Keeper(Connection(descriptor), pod).serve()


SOCKET = "/course/.keeper"


def docker(descriptor: int, first: list[str]) -> None:
    """Where a grader stands: a pod in Docker. Gives the test a connection to what runs inside, and stays to the end.

    Args:
        descriptor: the connection to the test.
        first: the command of the service that the pod makes ready for.
    """
    from autograder.pods.docker.runtime import DockerRuntime
    from autograder.pods.docker.steward import Worker

    os.set_inheritable(descriptor, False)
    found = DockerRuntime.available(["tfserving"])
    here = Path(__file__).resolve().parent
    runtime = DockerRuntime(found.engine, found.images, Worker("pods.keeper", (here,)))
    test = Connection(descriptor)
    with contextlib.ExitStack() as stack:
        with tempfile.TemporaryDirectory() as submission:
            service = Program(tuple(first), limits=SERVICE, service="python") if first else None
            session = stack.enter_context(runtime.session(Path(submission), service))
        seat = json.dumps({"folder": str(session.seat.folder), "user": session.seat.user})
        lines = session.lines(seat, time.monotonic() + 600)
        assert next(lines) == b"open"
        threading.Thread(target=lambda: list(lines), daemon=True).start()
        volume = session.engine.client.volumes.get(session._volume("course"))
        with socket.socket(socket.AF_UNIX) as inside:
            inside.connect(volume.attrs["Mountpoint"] + "/" + Path(SOCKET).name)
            send_handle(test, inside.fileno(), os.getppid())
        with contextlib.suppress(EOFError, OSError):
            test.recv()


def inside() -> None:
    """The worker in a pod in Docker: opens a socket in one of the pod's folders, for the test to connect to."""
    told = lines(0)
    seat = json.loads(next(told))

    def say(line: str) -> None:
        os.write(1, line.encode() + b"\n")

    with (
        DockerPod(Path(seat["folder"]), seat["user"], say, told) as pod,
        socket.socket(socket.AF_UNIX) as server,
    ):
        server.bind(str(pod.outside(SOCKET)))
        server.listen(1)
        say("open")
        connection, _ = server.accept()
        Keeper(Connection(connection.detach()), pod).serve()


if __name__ == "__main__":
    if sys.argv[1] == "-":
        inside()
    else:
        {"host": host, "keep": keep, "docker": docker}[sys.argv[1]](**json.loads(sys.argv[2]))
