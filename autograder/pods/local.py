"""The local runtime: a pod's services are processes of this machine.

Where the kernel allows it, a grading run gets namespaces of its own (network, processes, mounts, IPC): the process
that runs the checks is started *inside* them by ``enter``, so ``localhost:8501`` is the pod's, and the end of that
process is the end of everything. Where it does not, the pod is a folder and some process groups, on the machine's
own ports, with limits but without walls; the report says so.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from autograder.errors import GraderError
from autograder.pods import rootfs
from autograder.pods.base import Pod, give
from autograder.pods.building import Build, Built
from autograder.pods.folders import pod_folder
from autograder.pods.process import SANDBOX, Child, Process, Share
from autograder.pods.program import ENVIRONMENT, Program
from autograder.pods.runtime import Seat
from autograder.pods.sandbox import Spec

if TYPE_CHECKING:
    from autograder.pods.unpacked import Unpacked

PACKAGE = Path(__file__).resolve().parents[1]
# What a program in the pod may read of the course: the model server, and the package that it is in.
SHOWN = [PACKAGE / "__init__.py", PACKAGE / "modelserver"]
OUTER = ("mount", "net", "pid", "ipc", "uts")
INNER = ("mount", "pid", "ipc", "uts")
PATH = f"{Path(sys.prefix) / 'bin'}:/usr/local/bin:/usr/bin:/bin"
STUDENTS = 1_000_000  # user numbers from here on belong to nobody on this machine


@dataclass(frozen=True)
class Walls:
    """What this machine allows to be put between a student's code and itself.

    Attributes:
        namespaces: whether programs get namespaces of their own.
        user: the numeric user that the student's programs become, and the course's own the next one;
            ``None``: they stay who the grader is.
    """

    namespaces: bool
    user: int | None

    @property
    def outer(self) -> list[str]:
        return [*OUTER, *([] if os.getuid() == 0 else ["user"])] if self.namespaces else []

    def sentences(self) -> tuple[str, ...]:
        """What a report says about them."""
        found = []
        if self.namespaces:
            found.append(
                "own network without a route out, own processes, own file system, nothing of this machine to write"
            )
        else:
            found.append("no walls: this machine offers no namespaces, so programs run on its own network and files")
        if self.user is not None:
            found.append("another user, without privileges")
        else:
            found.append("the grader's user, without privileges" if self.namespaces else "the grader's user")
        found.append("limits on time, memory, processes, files and output")
        return tuple(found)


NO_WALLS = Walls(namespaces=False, user=None)
NOWHERE: Mapping[str, Path] = MappingProxyType({})


def walls() -> Walls:
    """The best walls that this machine offers, with two users that no other pod has."""
    user = STUDENTS + 128 * os.getpid() + 2 * (next(_numbers) % 64) if os.getuid() == 0 else None
    return Walls(namespaces=_has_namespaces(), user=user)


_numbers = itertools.count()


@functools.cache
def _has_namespaces() -> bool:
    """Whether this machine lets us make namespaces, found by trying."""
    if sys.platform != "linux":
        return False
    trial, lifeline = enter(["true"], Walls(namespaces=True, user=None), quiet=True)
    try:
        return trial.wait() == 0
    finally:
        os.close(lifeline)


def _spec(argv: Sequence[str], *, namespaces: Sequence[str] = (), loopback: bool = False) -> Spec:
    """A program of ours, with this process's environment, behind the given namespaces."""
    return {
        "argv": list(argv),
        "env": None,
        "cwd": str(Path.cwd()),
        "lifeline": 0,
        "namespaces": list(namespaces),
        "loopback": loopback,
        "root": None,
        "user": None,
        "drop": False,
        "own_command": False,
        "limits": {},
        "nice": 0,
    }


def enter(
    argv: Sequence[str], walls: Walls, descriptors: Sequence[int] = (), *, quiet: bool = False
) -> tuple[subprocess.Popen[bytes], int]:
    """Starts a program of ours inside a pod's outer walls.

    Args:
        argv: the program.
        walls: the walls to put around it.
        descriptors: open descriptors that it inherits.
        quiet: throw away what it prints to standard error.

    Returns:
        The process, and its lifeline: a descriptor whose closing, by us or by our death, ends it and all it started.
    """
    spec = _spec(argv, namespaces=walls.outer, loopback=walls.namespaces)
    theirs, ours = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(SANDBOX), json.dumps(spec | {"lifeline": theirs})],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if quiet else None,
            pass_fds=(theirs, *descriptors),
            start_new_session=True,
        )
    finally:
        os.close(theirs)
    return process, ours


class LocalPod(Pod):
    """A pod of processes. To be made inside ``enter`` when the walls have namespaces."""

    runtime = "local"

    def __init__(self, folder: Path, walls: Walls = NO_WALLS, elsewhere: Mapping[str, Path] = NOWHERE) -> None:
        """
        Args:
            folder: an existing folder for the pod's files.
            walls: what ``enter`` put around this process.
            elsewhere: top folders of the pod that are folders of this machine (without walls only).
        """
        self.folder, self.walls = folder, walls
        self.isolation = walls.sentences()
        self._elsewhere = elsewhere
        self._running: list[Process] = []
        self._images: dict[str, Unpacked] = {}
        self._share = Share()
        try:
            if walls.namespaces:
                rootfs.build(folder, user=walls.user or 0, packages=SHOWN)
            else:
                for name in ("/submission", "/models", "/course", "/tmp"):
                    self.outside(name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise GraderError(
                f"The pod's files could not be made: {error}.",
                "A folder for temporary files that can be written to.",
                "Look at the free disk space (`df -h`), or set TMPDIR to another folder.",
            ) from error
        self.grant("/submission")

    def build(self, build: Build) -> Built:
        from autograder.pods.unpacked import Unpacked, build_here, lay_out, root

        try:
            descriptor = self.open(build.context, os.O_RDONLY | os.O_DIRECTORY)
            try:
                built, files = build_here(descriptor, build, {"PATH": PATH, "LANG": ENVIRONMENT["LANG"]})
            finally:
                os.close(descriptor)
            if not built.ok:
                return built
            number = len(self._images) + 1
            if self.walls.namespaces:
                user = self.walls.user or 0
                image = root(self.folder, number, files, user=user, packages=SHOWN, size=build.added_size + (16 << 20))
            else:
                image = Unpacked(self.folder / ".images" / str(number), files)
                image.top.mkdir(parents=True)
                lay_out(image.top, files)
        except OSError as error:
            raise GraderError(f"The image's files could not be laid out: {error}.") from error
        self._images[str(number)] = image
        return replace(built, image=str(number))

    def start(self, program: Program) -> Process:
        env = {
            **ENVIRONMENT,
            "PATH": PATH,
            "HOME": self.inside("/tmp"),
            "TMPDIR": self.inside("/tmp"),
            **program.env,
        }
        if not self.walls.namespaces:
            env["TFSERVING_MODELS_ROOT"] = str(self.outside("/models"))
        argv, cwd, top = list(program.argv), self.inside(program.cwd), self.folder
        if program.built is not None:
            from autograder.pods.unpacked import as_in_debian

            image = self._images[program.built.image]
            top, cwd, argv = image.top, program.cwd, as_in_debian(argv)
            if not self.walls.namespaces:
                argv = [image.moved(word) for word in argv]
                env = image.moved_env(env)
                cwd = str(top) + cwd
        spec: Spec = {
            "argv": argv,
            "env": env,
            "cwd": cwd,
            "lifeline": 0,
            "namespaces": list(INNER) if self.walls.namespaces else [],
            "loopback": False,
            "root": str(top) if self.walls.namespaces else None,
            "user": self.walls.user + 1 if program.ours and self.walls.user is not None else self.walls.user,
            "drop": True,
            "own_command": program.built is not None,
            "limits": program.limits.rlimits(),
            "nice": program.limits.nice,
        }
        if self.walls.user is None:
            spec["limits"]["nproc"] += _threads_of(os.getuid())  # the limit is for the program's own
        try:
            process = Process(program, Child(spec), None if program.ours else self._share)
        except OSError as error:
            raise GraderError(f"A process could not be started: {error}.") from error
        self._running = [other for other in self._running if other.alive]
        self._running.append(process)
        return process

    def inside(self, path: str) -> str:
        return path if self.walls.namespaces else str(self.outside(path))

    def outside(self, path: str) -> Path:
        assert path.startswith("/"), path
        top, _, rest = path[1:].partition("/")
        return self._elsewhere.get("/" + top, self.folder / top) / rest

    def grant(self, path: str) -> None:
        user = self.walls.user
        if user is None:
            return
        give(self.outside(path), user)

    def close(self) -> None:
        for process in self._running:
            process.kill("was stopped with its pod")
        self._running.clear()


class LocalRuntime:
    """Pods of processes: a ``Runtime``."""

    name = "local"

    def __init__(self, built: Walls | None = None) -> None:
        self.walls = built or walls()
        self.isolation = self.walls.sentences()
        self.versions: dict[str, str] = {}

    @contextlib.contextmanager
    def session(self, submission: Path, first: Program | None = None) -> Iterator[LocalSession]:
        """Makes a pod's folder, and removes it with all that is in it; there is nothing to make for a process."""
        with pod_folder() as folder:
            session = LocalSession(self.walls, folder, submission)
            try:
                yield session
            finally:
                session.close()


class LocalSession:
    """One worker behind one pod's walls: a ``Session``."""

    notes: tuple[str, ...] = ()

    def __init__(self, walls: Walls, folder: Path, submission: Path) -> None:
        self._walls = walls
        self._read, self._write = os.pipe()
        self.seat = Seat("local", submission, folder, walls.namespaces, walls.user, self._write)

    def lines(self, job: str, deadline: float) -> Generator[bytes]:
        """Starts the worker with its job and yields what it writes, until its end or the deadline."""
        argv = [sys.executable, "-P", "-m", "autograder.worker", job]
        worker, lifeline = enter(argv, self._walls, (self._write,))
        os.close(self._write)
        self._write = -1
        pending = b""
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._read, selectors.EVENT_READ)
                while selector.select(max(0.0, deadline - time.monotonic())):
                    chunk = os.read(self._read, 1 << 16)
                    if not chunk:
                        return
                    *lines, pending = (pending + chunk).split(b"\n")
                    yield from lines
        finally:
            os.close(lifeline)
            worker.wait()

    def intact(self) -> bool:
        """A pod of processes has nothing that could fail by itself."""
        return True

    def trace(self) -> str:
        """The worker's errors went to our own standard error."""
        return ""

    def close(self) -> None:
        for descriptor in (self._read, self._write):
            if descriptor >= 0:
                os.close(descriptor)


def _threads_of(user: int) -> int:
    """How many processes and threads somebody has; the kernel counts all of them against a limit."""
    import psutil

    count = 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.uids().real == user:
                count += process.num_threads()
    return count
