"""What a pod is, whichever runtime it lives in.

A pod holds the services of one submission. They share one network namespace and find each other on ``localhost``.
Paths have two names: the one that programs in the pod use (``/models/digits``), and the file behind it that the
grader reads (``pod.outside("/models/digits")``).
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Protocol

from autograder.pods.building import Build, Built
from autograder.pods.program import Finished, Program


class Running(Protocol):
    """A program that was started and not waited for."""

    @property
    def alive(self) -> bool: ...
    def log(self) -> str: ...
    def wait(self, seconds: float | None = None) -> Finished | None: ...
    def terminate(self) -> None: ...
    def kill(self, why: str = "") -> None: ...
    def finished(self) -> Finished: ...


def give(top: Path, user: int) -> None:
    """Makes ``user`` the owner of a file or folder, with all that is in it; follows no link. Raises OSError."""
    os.chown(top, user, user, follow_symlinks=False)
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            os.chown(Path(folder) / name, user, user, follow_symlinks=False)


class Pod(ABC):
    """One submission's place to run in. A context manager: its end is the end of all that runs in it.

    Attributes:
        runtime: ``local`` or ``docker``.
        isolation: what stands between the student's code and the machine, a sentence each.
    """

    runtime: str
    isolation: tuple[str, ...]

    @abstractmethod
    def start(self, program: Program) -> Running:
        """Starts a program and comes back at once. Raises GraderError when the machine can't."""

    @abstractmethod
    def build(self, build: Build) -> Built:
        """Makes an image from a Dockerfile; what is wrong with that stands in the answer.

        ``start(Program(built.argv, env={**built.env, …}, cwd=built.workdir, built=built))`` runs it.

        Raises:
            GraderError: the machine or the engine failed.
        """

    @abstractmethod
    def inside(self, path: str) -> str:
        """What programs in the pod call the absolute ``path``."""

    @abstractmethod
    def outside(self, path: str) -> Path:
        """Where the grader finds the absolute ``path`` of the pod. What lies there is the student's: read with care."""

    @abstractmethod
    def grant(self, path: str) -> None:
        """Gives a file or folder of the pod, with all that is in it, to the student's programs to write."""

    @abstractmethod
    def close(self) -> None:
        """Ends everything in the pod; returns when nothing of it is left."""

    def open(self, path: str, flags: int = os.O_RDONLY) -> int:
        """Opens a file or folder of the pod, following no link anywhere below the pod's root.

        Raises:
            OSError: it is not there, or there is a link in its way.
        """
        top, *folders = path.strip("/").split("/")
        if not folders:
            return os.open(self.outside(path), flags | os.O_NOFOLLOW | os.O_NONBLOCK)
        name = folders.pop()
        here = os.open(self.outside("/" + top), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            for folder in folders:
                deeper = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
                os.close(here)
                here = deeper
            return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644, dir_fd=here)
        finally:
            os.close(here)

    def read(self, path: str, most: int = 1 << 20) -> bytes:
        """The first ``most`` bytes of a file of the pod. Raises OSError."""
        with os.fdopen(self.open(path), "rb") as stream:
            return stream.read(most)

    def run(self, program: Program) -> Finished:
        """Runs a program to its end, or to its limits."""
        running = self.start(program)
        try:
            finished = running.wait()
        except BaseException:
            running.kill("was interrupted")
            raise
        assert finished is not None
        return finished

    def __enter__(self) -> Pod:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
