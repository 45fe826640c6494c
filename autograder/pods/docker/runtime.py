"""The docker runtime, as ``grading`` knows it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from autograder.pods.docker.engine import Engine, connect, failures
from autograder.pods.docker.pod import ISOLATION
from autograder.pods.docker.steward import Steward, Worker
from autograder.pods.folders import pod_folder
from autograder.pods.images import Found, find, needed
from autograder.pods.program import Program
from autograder.submission import take_in


class DockerRuntime:
    """Pods in Docker: a ``Runtime``."""

    name = "docker"
    isolation: tuple[str, ...] = ISOLATION

    def __init__(self, engine: Engine, images: dict[str, Found], worker: Worker | None = None) -> None:
        """
        Args:
            engine: where.
            images: by name, what the pods are made of.
            worker: the program that runs inside; the grader's, unless something else is tried there.
        """
        self.engine, self.images, self.worker = engine, images, worker or Worker()
        self.versions = {f"{name} image": found.sentence() for name, found in images.items()}
        self.versions["docker"] = f"engine {engine.version}"

    @classmethod
    def available(cls, services: Iterable[str]) -> DockerRuntime:
        """The runtime for a lab with these services.

        Raises:
            MachineError: no engine answers.
            ImagesMissing: one does, but lacks images.
            GraderError: the engine failed when it was asked.
        """
        engine = connect()
        with failures("looking for the images"):
            return cls(engine, find(engine.client, engine.platform, needed(services)))

    @contextlib.contextmanager
    def session(self, submission: Path, first: Program | None = None) -> Iterator[Steward]:
        """Makes a pod, whose end is the context's. Raises SubmissionError, GraderError."""
        with pod_folder() as folder, tempfile.TemporaryDirectory(dir=folder) as copy:
            intake = take_in(submission, Path(copy))
            lock, notes = folder.with_suffix(".lock"), tuple(intake.notes)
            steward = Steward(self.engine, self.images, lock, Path(copy), notes, self.worker)
            try:
                steward.open(first)
                yield steward
            finally:
                steward.close()
