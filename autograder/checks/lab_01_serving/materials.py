"""What the checks of lab 01 work with: the student's programs, digits to read, and models of our own to serve."""

from __future__ import annotations

import errno
import gzip
import importlib.util
import json
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autograder.errors import GraderError
from autograder.pods import Finished, Limits, Pod, Program
from autograder.services.savedmodel import Dense, random_dense
from autograder.submission import Intake
from autograder.waiting import fail

MODEL, SECOND = "digits", "baseline"
TRAINING_LIMITS = Limits(seconds=240, cpu_seconds=600)
Array = NDArray[np.float32]
Model = Callable[[Array], Array]  # what a version answers to rows of shape (n, inputs)


def generator(seed: int, purpose: str) -> np.random.Generator:
    """A source of random numbers that belongs to one seed and one purpose."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode())])


@dataclass
class Programs:
    """Runs the student's programs in the pod."""

    pod: Pod
    intake: Intake

    def require(self, name: str) -> None:
        """Fails the check when a file was not handed in."""
        if name in self.intake.files:
            return
        close = get_close_matches(name, self.intake.files, n=1, cutoff=0.6)
        fail(
            f"There is no {name} in the submission" + (f"; there is a {close[0]}." if close else "."),
            f"A file named exactly {name}.",
            f"Rename it: `mv {close[0]} {name}`." if close else "",
        )

    def python(self, *argv: str, stdin: bytes = b"", limits: Limits | None = None) -> Finished:
        """Runs a Python program of the submission to its end."""
        self.require(argv[0])
        return self.pod.run(Program(("python", *argv), stdin=stdin, limits=limits or Limits()))

    def json(self, *argv: str, stdin: bytes = b"", limits: Limits | None = None) -> tuple[Finished, dict[str, Any]]:
        """The same for one that prints a JSON object. Fails the check when it prints anything else."""
        finished = self.python(*argv, stdin=stdin, limits=limits)
        command = shown(argv)
        if finished.stopped:
            fail(
                f"`{command}` {finished.stopped}.",
                "It ends by itself, with one JSON object on standard output.",
            )
        try:
            found = json.loads(finished.stdout)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            said = finished.tail(6)
            fail(
                f"`{command}` {finished.ending()} and printed no JSON object." + (f" It said:\n{said}" if said else ""),
                "One JSON object on standard output, and nothing else there.",
            )
        return finished, found


def shown(argv: tuple[str, ...]) -> str:
    """A command as a student would type it."""
    return " ".join(("python", *argv))


@dataclass(frozen=True)
class Digits:
    """scikit-learn's digits, split and renumbered by the seed.

    Attributes:
        train_images: shape (1400, 64), float32, 0–16.
        train_labels: shape (1400,), int64; which digit has which number is the seed's choice.
        test_images, test_labels: the 397 others.
    """

    train_images: Array
    train_labels: NDArray[np.int64]
    test_images: Array
    test_labels: NDArray[np.int64]


def read_digits() -> tuple[Array, NDArray[np.int64]]:
    """scikit-learn's digits: images (1797, 64), 0–16, and labels (1797,). Raises GraderError without scikit-learn."""
    spec = importlib.util.find_spec("sklearn")  # found, not imported: that would take two seconds
    if spec is None or not spec.submodule_search_locations:
        raise GraderError("scikit-learn is not installed.", "", "Run `make setup`.")
    file = Path(spec.submodule_search_locations[0]) / "datasets/data/digits.csv.gz"
    with gzip.open(file, "rt") as stream:
        table = np.loadtxt(stream, delimiter=",", dtype=np.float32)
    return table[:, :64], table[:, 64].astype(np.int64)


@dataclass
class Shelf:
    """The versions of one model, in a base path that a server watches. What appears there is complete at once."""

    pod: Pod
    base: str
    rng: np.random.Generator
    newest: int
    models: dict[int, Model] = field(default_factory=dict)

    def put(self, model: Dense | None = None) -> int:
        """Publishes a model of ours, by default one with new random weights; gives its version."""
        version = self.take_number()
        model = model or random_dense(self.rng)
        try:
            model.save(self.staging(version))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            fail("There is no room left in /models for one more small model.", "Your programs leave some of it free.")
        self.models[version] = model
        self.reveal(version)
        return version

    def take_number(self) -> int:
        """The next version: higher than all before it, by one or a few, because nobody may count on it."""
        self.newest = self.newest + int(self.rng.integers(1, 4))
        return self.newest

    def staging(self, version: int) -> Path:
        """Where a version is made: on the server's own file system, in a folder that the student can't write to."""
        base = self.pod.outside(self.base)
        return base.with_name(f".{base.name}-{version}")

    def remove(self, version: int) -> None:
        """Takes a version away again, in one step."""
        base = self.pod.open(self.base, os.O_DIRECTORY)
        try:
            os.rename(str(version), self.staging(version), src_dir_fd=base)
        except OSError as error:
            fail(f"Version {version} could not be taken out of {self.base}: {error.strerror}.", "It is the grader's.")
        finally:
            os.close(base)

    def reveal(self, version: int) -> None:
        """Gives what lies in ``staging`` its number below the base path, in one step."""
        base = self.pod.open(self.base, os.O_DIRECTORY)
        try:
            os.rename(self.staging(version), str(version), dst_dir_fd=base)
        except OSError as error:
            fail(
                f"Version {version} could not be put into {self.base}: {error.strerror}.",
                "The grader may publish there.",
            )
        finally:
            os.close(base)
