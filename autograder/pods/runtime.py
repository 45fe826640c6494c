"""What a runtime offers to whoever grades: a session in which one worker process runs inside one pod."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from autograder.pods.program import Program


@dataclass(frozen=True)
class Seat:
    """Where the worker finds itself: what it has to be told about its pod.

    Attributes:
        runtime: ``local`` or ``docker``.
        submission: the folder to take the submission from.
        folder: the folder of the pod's files.
        namespaces: whether the worker is inside the pod's network, and paths in the pod are their own.
        user: the numeric user of the student's programs; ``None``: the grader's own.
        events: the descriptor that the worker writes its events to.
    """

    runtime: str
    submission: Path
    folder: Path
    namespaces: bool
    user: int | None
    events: int


class Session(Protocol):
    """One worker in one pod."""

    seat: Seat
    notes: tuple[str, ...]

    def lines(self, job: str, deadline: float) -> Generator[bytes]:
        """Gives the worker its job, and yields what it writes, to its end or ``deadline`` (``time.monotonic``)."""

    def intact(self) -> bool:
        """Whether all that the pod was made of outlived the worker: otherwise a failed check proves nothing."""

    def trace(self) -> str:
        """What went wrong with the pod itself, for the instructor; empty when nothing did."""


class Runtime(Protocol):
    """A place where pods run.

    Attributes:
        name: ``local`` or ``docker``.
        isolation: what stands between the student's code and the machine, a sentence each.
        versions: what a report says it ran on, by name.
    """

    name: str
    isolation: tuple[str, ...]
    versions: dict[str, str]

    def session(self, submission: Path, first: Program | None = None) -> AbstractContextManager[Session]:
        """Makes a pod, whose end is the context's.

        Args:
            submission: the folder to take the submission from.
            first: a service that the worker will start, to make ready for.

        Raises:
            CourseError: there can be no pod.
        """
