"""Starting any model server by its command, and talking to it over plain sockets.

`MODELSERVER_COMMAND` names the server (default: the embedded one). With `MODELSERVER_URL` the requests of one scenario
go to a server that is already running; `MODELSERVER_SERVES` says which, by its base path, e.g. `/run/s1/lin`.

Base paths below `/models` and `/run` of the recordings lie in a folder of the test; flags, configuration files and
answers are translated between the two.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from .recordings import FOLDER

COMMAND: Final = shlex.split(os.environ.get("MODELSERVER_COMMAND", f"{sys.executable} -m autograder.modelserver"))
REPOSITORY: Final = Path(__file__).parents[2]
_PATIENCE_SECONDS: Final = 60.0


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on at this moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def wait_until(condition: Callable[[], Any], what: str, seconds: float = _PATIENCE_SECONDS) -> Any:
    """The first true value of `condition`.

    Raises:
        AssertionError: it did not come in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain until {what}"
        time.sleep(0.01)


class World:
    """The folders of the recordings: `models` as built, and `run` with a base path for each scenario."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with tarfile.open(FOLDER / "models.tar.gz") as archive:
            archive.extractall(folder / "models", filter="data")
        self.run = folder / "run"

    def path(self, recorded: str) -> Path:
        """Where a path of the recordings, such as `/run/s1/lin`, lies."""
        return self.folder / recorded.lstrip("/")

    def here(self, text: str) -> str:
        """A recorded text with its paths translated to this world's."""
        return re.sub(r"(?<![\w.])/(run|models)(?=/|\b)", lambda found: str(self.folder / found[1]), text)

    def recorded(self, text: str) -> str:
        """A text of this world with its paths as in the recordings."""
        return text.replace(str(self.folder), "")

    def add_version(self, base_path: str, version: str, model: str) -> Path:
        """Puts a copy of `model` (such as `lin/2`) into a base path, complete at once."""
        target = self.path(base_path) / version
        target.parent.mkdir(parents=True, exist_ok=True)
        hidden = target.parent.parent / f".{target.parent.name}-{version}-incomplete"
        shutil.copytree(self.path("/models") / model, hidden)
        hidden.rename(target)
        return target

    def write(self, recorded: str, text: str) -> Path:
        """Writes a configuration file, at once; its paths are translated."""
        target = self.path(recorded)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        part.write_text(self.here(text))
        part.rename(target)
        return target


class RemoteServer:
    """A server that somebody else started (`MODELSERVER_URL`)."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "localhost", parts.port or 8501

    def send(self, request: bytes, timeout: float = 30.0) -> Answer:
        """Sends one request on a connection of its own."""
        with socket.create_connection((self.host, self.port), timeout=timeout) as connection:
            connection.sendall(request)
            return read_answer(connection)


class Answer:
    """One HTTP answer, taken apart."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class Server:
    """A running model server."""

    def __init__(self, world: World, flags: Sequence[str], log: Path) -> None:
        self.world = world
        self.log_file = log
        self.port, self.grpc_port = free_ports(2)
        given = [world.here(flag) for flag in flags]
        ports = [f"--rest_api_port={self.port}", f"--port={self.grpc_port}"]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*COMMAND, *ports, *given], stdout=output, stderr=subprocess.STDOUT, env=environment,
                start_new_session=True,
            )  # fmt: skip

    def log(self) -> str:
        """What it has said so far, with the recordings' paths."""
        return self.world.recorded(self.log_file.read_text("utf-8", "replace"))

    def is_open(self) -> bool:
        """Whether its REST port takes connections."""
        with socket.socket() as attempt:
            attempt.settimeout(5)
            return attempt.connect_ex(("127.0.0.1", self.port)) == 0

    def wait_until_open(self) -> None:
        """Waits for the REST port."""

        def opened() -> bool:
            assert self.process.poll() is None, f"the server ended with {self.process.returncode}:\n{self.log()}"
            return self.is_open()

        wait_until(opened, "the REST port opens")

    def send(self, request: bytes, timeout: float = 30.0) -> Answer:
        """Sends one request on a connection of its own."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            connection.sendall(request)
            return read_answer(connection)

    def ask(self, method: str, path: str, body: str = "") -> Answer:
        """Sends a plain request; paths in the answer are the recordings'."""
        content = body.encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
        answer = self.send(head.encode() + content)
        answer.body = self.world.recorded(answer.body.decode("utf-8", "surrogateescape")).encode(
            "utf-8", "surrogateescape"
        )
        return answer

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ends it. Returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(20)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()


def read_answer(connection: socket.socket) -> Answer:
    """Reads one answer; without a length it ends with the connection or when nothing more comes."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65536)
        assert part, f"the connection ended after {received!r}"
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    length = headers.get("content-length")
    if length is None:
        connection.settimeout(0.3)
    with contextlib.suppress(TimeoutError):
        while length is None or len(body) < int(length):
            part = connection.recv(1 << 20)
            if not part:
                break
            body += part
    return Answer(int(lines[0].split(" ")[1]), headers, body)


@contextlib.contextmanager
def running(world: World, flags: Sequence[str], log: Path, wait: bool = True) -> Iterator[Server]:
    """A server with these flags, open for requests if `wait`, and ended afterwards."""
    server = Server(world, flags, log)
    try:
        if wait:
            server.wait_until_open()
        yield server
    finally:
        server.stop()
