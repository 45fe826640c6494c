"""Waiting for a condition, and failing when it never comes. Nothing in the course waits by sleeping a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NoReturn, TypeVar

from autograder.errors import CheckFailed

T = TypeVar("T")


def fail(saw: str, expected: str = "", hint: str = "") -> NoReturn:
    """Fails the check. ``hint`` replaces the check's own where the next step is known more exactly."""
    raise CheckFailed(saw, expected, hint)


def polling(
    look: Callable[[], T | None],
    *,
    seconds: float,
    saw: Callable[[], str] | str,
    expected: str = "",
    hint: str = "",
    pause: float = 0.02,
    longest: float = 0.0,
    give_up: Callable[[], bool] | None = None,
) -> T:
    """Looks again and again until there is something to see; the deadline is generous, not a measure of speed.

    Args:
        look: gives the thing, or ``None`` while it is not there yet.
        seconds: how long to look.
        saw, expected, hint: what the student reads when it never came.
        pause: seconds between two looks.
        longest: to how many seconds the pause grows, each a tenth longer than the one before; by default it stays.
        give_up: tells that waiting on is of no use (the process has died).

    Raises:
        CheckFailed: the deadline passed, or ``give_up`` said so.
    """
    deadline = time.monotonic() + seconds
    while True:
        hopeless = give_up is not None and give_up()
        found = look()
        if found is not None:
            return found
        if hopeless or time.monotonic() > deadline:
            fail(saw() if callable(saw) else saw, expected, hint)
        time.sleep(pause)
        pause = max(pause, min(pause * 1.1, longest))
