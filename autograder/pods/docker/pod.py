"""The pod as the worker sees it, from its container: files, student programs, and services."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

from autograder.errors import GraderError
from autograder.pods import sandbox
from autograder.pods.base import Pod, Running, give
from autograder.pods.building import Build, Built
from autograder.pods.docker.making import Making, message
from autograder.pods.docker.talk import Ask, Signal, Start, Tell
from autograder.pods.process import Capture, Process, Share
from autograder.pods.program import ENVIRONMENT, Finished, Program
from autograder.pods.sandbox import Spec

PROGRAMS = (Path(__file__).with_name("agent.py"), Path(sandbox.__file__))
PATH = "/opt/course/bin:/usr/local/bin:/usr/bin:/bin"
AGENT = "/course/.agent"  # a folder that nobody but the grader can list
SOCKET = "YARD_SOCKET"  # the worker's variable with the name of a socket in there, which no student's program knows
START_SECONDS = 60.0
ISOLATION = (
    "own network without a route out, own containers with own processes and a file system that can't be written to",
    "another user, without privileges",
    "limits on time, memory, processes, files and output",
)


def lines(descriptor: int) -> Iterator[bytes]:
    """Lines from a pipe until its end; holds no lock that the end of the process would wait for."""
    pending = b""
    while chunk := os.read(descriptor, 1 << 16):
        *whole, pending = (pending + chunk).split(b"\n")
        yield from whole


def described(program: Program, number: int) -> Start:
    """A program as the steward is asked for it."""
    return Start(
        id=number,
        service=program.service or "python",
        argv=program.argv,
        env={**ENVIRONMENT, "PATH": PATH, "HOME": "/tmp", "TMPDIR": "/tmp", "USER": "student", **program.env},
        cwd=program.cwd,
        limits=program.limits,
        ours=program.ours,
        built=program.built.image if program.built else "",
    )


class DockerPod(Pod):
    """A pod of containers. To be made inside the worker's container, which the steward started."""

    runtime = "docker"
    isolation = ISOLATION

    def __init__(self, folder: Path, user: int, say: Callable[[str], None], lines: Iterator[bytes]) -> None:
        """
        Args:
            folder: where the pod's file systems are mounted in this container.
            user: the numeric user of the student's programs.
            say: sends the steward a line.
            lines: what the steward says.
        """
        self.folder, self.user = folder, user
        self._say, self._lines = say, lines
        self._lock = threading.Lock()
        self._services: dict[int, Service] = {}
        self._makings: dict[int, Making] = {}
        self._numbers = itertools.count(1)
        self._programs: list[Process] = []
        self._share = Share()
        self._yard = Yard(self.outside(AGENT), os.environ[SOCKET], user, lambda: self._ask(Ask(yard=True)))
        threading.Thread(target=self._hear, name="steward", daemon=True).start()
        self.grant("/submission")

    def start(self, program: Program) -> Running:
        if program.service or program.ours or program.built:
            return self._serve(program)
        spec: Spec = {
            "argv": list(program.argv),
            "env": described(program, 0).env,
            "cwd": program.cwd,
            "lifeline": 0,
            "namespaces": [],
            "loopback": False,
            "root": None,
            "user": self.user,
            "drop": True,
            "own_command": False,
            "limits": program.limits.rlimits(),
            "nice": program.limits.nice,
        }
        process = Process(program, self._yard.start(spec), self._share)
        with self._lock:
            self._programs = [other for other in self._programs if other.alive]
            self._programs.append(process)
        return process

    def build(self, build: Build) -> Built:
        with self._lock:
            number = next(self._numbers)
            making = self._makings[number] = Making(number, build)
        self._ask(Ask(make=message(number, build)))
        return making.built()

    def _serve(self, program: Program) -> Service:
        with self._lock:
            number = next(self._numbers)
            service = self._services[number] = Service(program, number, self._ask)
        self._ask(Ask(start=described(program, number)))
        return service

    def _ask(self, ask: Ask) -> None:
        self._say('{"ask":' + ask.line() + "}")

    def _hear(self) -> None:
        """The steward's messages, for as long as there is one."""
        for line in self._lines:
            told = Tell.read(line)
            (self._services.get(told.id) or self._makings[told.id]).hear(told)
        os._exit(1)  # nobody is there to grade for

    def inside(self, path: str) -> str:
        return path

    def outside(self, path: str) -> Path:
        assert path.startswith("/"), path
        return self.folder / path[1:]

    def grant(self, path: str) -> None:
        give(self.outside(path), self.user)

    def close(self) -> None:
        with self._lock:
            running: list[Running] = [*self._services.values(), *self._programs]
        for program in running:
            with contextlib.suppress(GraderError):  # what is lost is removed with the pod
                if program.alive:
                    program.kill("was stopped with its pod")


class Service:
    """A program in a container of its own, by way of the steward."""

    def __init__(self, program: Program, number: int, ask: Callable[[Ask], None]) -> None:
        self.program = program
        self._number, self._ask = number, ask
        self._began = time.monotonic()
        self._out, self._err = Capture(), Capture()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._end: Tell | None = None
        self._why = ""
        self._seconds = 0.0

    def hear(self, told: Tell) -> None:
        """What the steward says of it."""
        with self._lock:
            if told.out:
                self._out.add(told.out)
            if told.err:
                self._err.add(told.err)
        if told.exit_code is not None or told.lost:
            self._end, self._seconds = told, time.monotonic() - self._began
            self._over.set()

    @property
    def alive(self) -> bool:
        """Whether it runs. Raises GraderError when nobody knows: a server that is lost is not one that has ended."""
        if self._end is not None and self._end.lost:
            raise GraderError(f"The container of {self.program.argv[0]} failed: {self._end.lost}.")
        return not self._over.is_set()

    def log(self) -> str:
        """What it has printed so far: standard output, then standard error."""
        with self._lock:
            return (self._out.bytes() + self._err.bytes()).decode("utf-8", "replace")

    def wait(self, seconds: float | None = None) -> Finished | None:
        """Waits for its end, ``seconds`` at most; ``None`` if it is still running then."""
        return self.finished() if self._over.wait(seconds) else None

    def terminate(self) -> None:
        """Sends SIGTERM to the program."""
        self._ask(Ask(signal=Signal(id=self._number, name="SIGTERM")))

    def kill(self, why: str = "") -> None:
        """Ends its container; returns when nothing of it is left. Raises GraderError when the engine can't."""
        if self.alive:
            self._why = self._why or why
            self._ask(Ask(signal=Signal(id=self._number, name="SIGKILL")))
            if not self._over.wait(START_SECONDS):
                raise GraderError(f"The container of {self.program.argv[0]} could not be ended.")

    def finished(self) -> Finished:
        """How it ended; to be asked when it has. Raises GraderError when nobody knows."""
        end = self._end
        if end is None or end.exit_code is None:
            raise GraderError(f"The container of {self.program.argv[0]} failed: {end.lost if end else 'it runs'}.")
        return Finished(
            argv=self.program.argv,
            exit_code=end.exit_code,
            stdout=self._out.bytes(),
            stderr=self._err.bytes(),
            stopped=end.stopped or self._why,
            seconds=self._seconds,
        )


class Yard:
    """The container for student programs, as its agent's only friend."""

    def __init__(self, folder: Path, name: str, user: int, call: Callable[[], None]) -> None:
        """Opens the socket that the agent, of ``user``, connects to: who knows its name is the agent.

        Args:
            folder: where it is, and what the agent runs.
            name: of the socket.
            user: whose it is.
            call: has the container started, when there is something to run in it.
        """
        self._call = call
        folder.mkdir()
        folder.chmod(0o711)
        for program in PROGRAMS:
            shutil.copy(program, folder)
        self._path = path = folder / name
        self._connection: socket.socket | None = None
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        os.chown(path, user, user)
        self._listener.listen(1)
        self._listener.settimeout(START_SECONDS)

    def start(self, spec: Spec) -> Remote:
        """Starts a sandbox. Raises GraderError when the container is not there."""
        try:
            return Remote(self._connected(), spec)
        except OSError as error:
            raise GraderError(f"The container for student programs does not answer: {error}.") from error

    def _connected(self) -> socket.socket:
        with self._lock:
            if self._connection is None:
                # Once; and for one that does not come nobody waits a second time.
                try:
                    self._call()
                    self._connection, _ = self._listener.accept()
                finally:
                    self._listener.close()
                self._path.unlink()
            return self._connection


class Remote:
    """A sandbox in the container for student programs: a ``Handle``."""

    def __init__(self, agent: socket.socket, spec: Spec) -> None:
        self.lost = ""
        self._code: int | None = None
        self._memory, self._waited = 0, 0.0
        pipes = [os.pipe() for _ in range(3)]
        (theirs_in, ours_in), (ours_out, theirs_out), (ours_err, theirs_err) = pipes
        self.lifeline, line = socket.socketpair()
        self._control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        streams = os.fdopen(ours_in, "wb", 0), os.fdopen(ours_out, "rb", 0), os.fdopen(ours_err, "rb", 0)
        self.streams = cast("tuple[IO[bytes], IO[bytes], IO[bytes]]", streams)
        theirs = [theirs_in, theirs_out, theirs_err]
        try:
            socket.send_fds(agent, [json.dumps(spec).encode()], [*theirs, line.fileno(), control.fileno()])
        except BaseException:
            for stream in streams:
                stream.close()
            self.lifeline.close()
            self._control.close()
            raise
        finally:
            line.close()
            control.close()
            for descriptor in theirs:
                os.close(descriptor)

    def poll(self) -> int | None:
        self._hear()
        return self._code

    def wait(self, seconds: float) -> None:
        if self._code is None and not self.lost:
            select.select([self._control], [], [], seconds)

    def terminate(self) -> None:
        with contextlib.suppress(OSError):
            self._control.send(b"t")

    def memory(self) -> int:
        self._hear()
        return self._memory

    def waited(self) -> float:
        self._hear()
        return self._waited

    def close(self) -> None:
        self._control.close()

    def _hear(self) -> None:
        """All that the agent has said by now."""
        while self._code is None and not self.lost:
            try:
                said = self._control.recv(64, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                said = b""
            if said[:1] == b"x":
                self._code = int(said[1:])
            elif said[:1] == b"m":
                memory, _, waited = said[1:].partition(b" ")
                self._memory, self._waited = int(memory), int(waited) / 1e9
            else:
                self.lost = "its container ended"
