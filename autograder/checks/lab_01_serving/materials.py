"""What the checks of lab 01 work with: the digits, and the names of the models that the student's server holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autograder.checking.digits import MODEL
from autograder.checking.shelf import Array
from autograder.pods import Limits

__all__ = ["MODEL", "SECOND", "TRAINING_LIMITS", "Digits"]

SECOND = "baseline"
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
