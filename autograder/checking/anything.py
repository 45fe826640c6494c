"""Inputs that nobody has thought of: hypothesis makes them, and finds the simplest that goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autograder.errors import CheckFailed
from autograder.waiting import fail

CASES = 25
PIXELS, BRIGHTEST = 64, 16


class GiveUp(BaseException):
    """Ends the search at once: a simpler batch would be waited for as long.

    Args:
        why: what the check fails with.
    """

    def __init__(self, why: CheckFailed) -> None:
        self.why = why


def for_any_images(attempt: Callable[[list[list[float]]], None], seed: int) -> None:
    """Tries something with batches of images: whole and broken numbers from 0 to 16, also blank and black ones.

    Args:
        attempt: takes a batch; raises CheckFailed when something is wrong with it, GiveUp to try no other.
        seed: makes the batches; the same seed makes the same ones.

    Raises:
        CheckFailed: what ``attempt`` raised for the simplest batch for which it does.
    """
    import hypothesis  # half a second that not every lab needs
    from hypothesis import strategies

    pixel = strategies.integers(0, BRIGHTEST).map(float) | strategies.floats(0, BRIGHTEST, width=32)
    mixed = strategies.lists(pixel, min_size=PIXELS, max_size=PIXELS)
    plain = strategies.sampled_from([0.0, 1.0, float(BRIGHTEST)]).map(lambda value: [value] * PIXELS)
    batches = strategies.lists(mixed | plain, min_size=1, max_size=5)
    settings: Any = hypothesis.settings(
        max_examples=CASES,
        database=None,
        deadline=None,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    seeded: Any = hypothesis.seed(seed)
    try:
        seeded(settings(hypothesis.given(batches)(attempt)))()
    except GiveUp as end:
        raise end.why from None
    except hypothesis.errors.Flaky:
        fail("The same images got a right answer once, and a wrong one another time.", "Always the model's own.")
