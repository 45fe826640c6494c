"""The places that pods can be made in on this machine: each runtime, with each kind of walls.

A new runtime joins the list of promises by joining ``PLACES``.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from autograder.lab import ROOT
from autograder.ports import holder

from .keeper import RemotePod

SOMEBODY = 54321  # an ordinary user, to be when the tests are run by root
SECRET = "the-graders-own-environment"


@dataclass(frozen=True)
class Place:
    """One kind of place for pods.

    Attributes:
        name: as it stands in the names of tests.
        walled: it keeps the student's programs apart from the machine's network, files and processes.
        as_root: its grader is root.
        docker: its pods are containers. The grader's process is not above what runs in them, and the student's
            programs, which share a container, see each other.
    """

    name: str
    walled: bool
    as_root: bool
    docker: bool = False

    def require(self) -> None:
        """Skips the test when this machine can't have it."""
        if self.docker:
            require_docker()
        if self.as_root and os.getuid() != 0:
            pytest.skip("not run by root")
        if not self.as_root and os.getuid() == 0 and _python_for_somebody() is None:
            pytest.skip("no Python that an ordinary user may run")
        if self.walled and not self.docker and not _has_namespaces(self):
            pytest.skip("this machine offers no namespaces")

    @contextlib.contextmanager
    def grader(self, folder: Path | None = None, first: Sequence[str] = ()) -> Iterator[Grader]:
        """Somebody who has a pod, in a temporary folder of its own or in the one that is given.

        Args:
            folder: for the grader's temporary files.
            first: in Docker, the command of the service that the pod makes ready for.
        """
        with contextlib.ExitStack() as stack:
            temporary = str(folder or stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))
            Path(temporary).chmod(0o777)
            ours, theirs = socket.socketpair()
            told: dict[str, object] = {"descriptor": theirs.fileno()}
            if self.docker:
                told |= {"first": list(first)}
            else:
                told |= {"namespaces": self.walled, "user": None}
            argv = ["-P", "-m", "pods.keeper", "docker" if self.docker else "host", json.dumps(told)]
            process = self._run(argv, temporary, theirs.fileno())
            theirs.close()
            connection = lifeline = Connection(ours.detach())
            try:
                if self.docker:
                    connection = Connection(recv_handle(lifeline))
                yield Grader(process, RemotePod(connection), Path(temporary))
            finally:
                connection.close()
                lifeline.close()
                process.wait(60)
                assert process.stderr is not None
                process.stderr.close()

    def _run(self, argv: list[str], temporary: str, descriptor: int) -> subprocess.Popen[bytes]:
        python, who = sys.executable, None
        if not self.as_root and os.getuid() == 0:
            found = _python_for_somebody()
            assert found is not None
            python, who = found, SOMEBODY
        path = [str(Path(__file__).parents[1]), str(ROOT), str(Path(psutil.__file__).parents[1])]
        return subprocess.Popen(
            [python, *argv],
            env={
                "TMPDIR": temporary,
                "PYTHONPATH": os.pathsep.join(path),
                "SECRET": SECRET,
                "PATH": os.defpath,
                **{name: os.environ[name] for name in ("DOCKER_HOST", "HOME") if name in os.environ and self.docker},
            },
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(descriptor,),
            cwd="/",
            user=who,
            group=who,
            extra_groups=None if who is None else [],
        )


@dataclass(frozen=True)
class Grader:
    """A grader's process, its pod, and the folder that it keeps temporary files in."""

    process: subprocess.Popen[bytes]
    pod: RemotePod
    temporary: Path


PLACES = (
    Place("walls-root", walled=True, as_root=True),
    Place("walls-user", walled=True, as_root=False),
    Place("no-walls", walled=False, as_root=False),
    Place("docker", walled=True, as_root=True, docker=True),
)


@contextlib.contextmanager
def standard_ports() -> Iterator[None]:
    """The ports of a lab's services on this machine, for one test at a time of all who run tests here."""
    with Path(tempfile.gettempdir(), "model-deployment-standard-ports").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        for port in (8500, 8501):
            if found := holder(port):
                assert not os.environ.get("REQUIRE_DOCKER"), f"port {port} is taken by {found}"
                pytest.skip(f"port {port} is taken by {found}")
        yield


@functools.cache
def require_docker() -> None:
    """Skips the test without an engine that has the images; where ``REQUIRE_DOCKER`` is set, that is a failure."""
    from autograder.errors import MachineError
    from autograder.pods.docker.runtime import DockerRuntime

    try:
        DockerRuntime.available(["tfserving"])
    except MachineError as error:
        if os.environ.get("REQUIRE_DOCKER"):
            raise
        pytest.skip(f"{error.saw} {error.hint}")


@functools.cache
def _has_namespaces(place: Place) -> bool:
    with contextlib.suppress(EOFError, OSError), place.grader() as grader:
        return any("network" in sentence for sentence in grader.pod.isolation)
    return False


@functools.cache
def _python_for_somebody() -> str | None:
    """A Python like ours that ``SOMEBODY`` may run: ours, or a bare environment of the system's."""
    if _runs(sys.executable):
        return sys.executable
    for base in (getattr(sys, "_base_executable", ""), "/usr/bin/python3"):
        if not _runs(base):
            continue
        folder = Path(tempfile.gettempdir()) / f"python-for-{SOMEBODY}-{os.getpid()}"
        folder.mkdir(mode=0o755)
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        subprocess.run([base, "-m", "venv", "--without-pip", folder], check=True)
        return str(folder / "bin/python")
    return None


def _runs(python: str) -> bool:
    argv = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    try:
        tried = subprocess.run(argv, user=SOMEBODY, group=SOMEBODY, extra_groups=[], cwd="/", check=False)
    except OSError:
        return False
    return tried.returncode == 0
