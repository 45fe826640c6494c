"""How long an app may keep the grader waiting: one budget for all its answers, so that every run ends in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Patience:
    """The seconds that all answers of a submission may take together, over all its instances and checks.

    Whoever waits for several answers at a time waits once. When the seconds are used up, a single answer still gets a
    few: what is quick goes on as before, and what is slow ends soon.
    """

    def __init__(self, seconds: float = 300.0, then: float = 5.0) -> None:
        self.seconds, self.then = seconds, then
        self._left = seconds
        self._counted = 0.0  # until when the waiting has been counted, ``time.monotonic``
        self._lock = threading.Lock()

    @contextmanager
    def waiting(self, seconds: float) -> Iterator[float]:
        """A wait for one answer that may take ``seconds``; gives how many of them it has."""
        began = time.monotonic()
        try:
            yield min(seconds, max(self._left, self.then))
        finally:
            with self._lock:
                now = time.monotonic()
                self._left -= now - max(began, self._counted)
                self._counted = now
