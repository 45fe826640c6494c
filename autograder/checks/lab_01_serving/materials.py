"""What the checks of lab 01 work with: the digits, and the names of the models that the student's server holds."""

from __future__ import annotations

import gzip
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autograder.checking.shelf import Array
from autograder.errors import GraderError
from autograder.pods import Limits

MODEL, SECOND = "digits", "baseline"
TRAINING_LIMITS = Limits(seconds=240, cpu_seconds=600)


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
