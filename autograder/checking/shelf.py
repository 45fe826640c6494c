"""Models of our own for a model server to serve: versions that appear in a base path, each complete at once."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autograder.pods import Pod
from autograder.services.savedmodel import Dense, random_dense
from autograder.waiting import fail

Array = NDArray[np.float32]
Model = Callable[[Array], Array]  # what a version answers to rows of shape (n, inputs)


def generator(seed: int, purpose: str) -> np.random.Generator:
    """A source of random numbers that belongs to one seed and one purpose."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode())])


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
        """The next version: higher than all before it, by two or a few, because nobody may count on a neighbour."""
        self.newest = self.newest + int(self.rng.integers(2, 5))
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
