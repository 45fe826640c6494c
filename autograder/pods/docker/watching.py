"""Follows a container of RUN to its end, which comes with a limit at the latest."""

from __future__ import annotations

import threading
import time
from typing import Any

from autograder.pods.docker.container import frames
from autograder.pods.process import Capture
from autograder.pods.program import MiB

OUTPUT = 8 * MiB  # bytes that one RUN may print
LOOK = 0.25  # seconds between two looks at what it has written


class Watch:
    """What a container prints, what it writes, how long it takes.

    Attributes:
        why: why it was ended, as a clause; empty when it ended by itself.
    """

    def __init__(self, api: Any, container: Any, most: int, seconds: float) -> None:
        self._api, self._container, self._most, self._seconds = api, container, most, seconds
        self.why = ""

    def wrote(self) -> int:
        """Bytes that it has written, as its files say: a hole counts as what it stands for."""
        found = self._api.containers(all=True, size=True, filters={"id": self._container.id})
        return int(found[0].get("SizeRw") or 0) if found else 0

    def follow(self, output: Any, log: Capture, seconds: float) -> bytes:
        """Reads to its end, which comes with a limit at the latest. Gives the end of what it printed."""
        over = threading.Event()
        watcher = threading.Thread(target=self._look, args=(over, time.monotonic() + seconds), daemon=True)
        watcher.start()
        size, tail = 0, b""
        try:
            for _, chunk in frames(output):
                size += len(chunk)
                tail = (tail + chunk)[-4000:]
                if size <= OUTPUT:
                    log.add(chunk)
                else:  # the rest is read all the same: its end waits for that
                    self._end(f"printed more than {OUTPUT // MiB} MiB")
        finally:
            over.set()
            watcher.join()
        return tail

    def _look(self, over: threading.Event, deadline: float) -> None:
        while not over.wait(LOOK):
            if time.monotonic() > deadline:
                self._end(f"was still running when the RUN commands had taken {self._seconds:g} seconds")
            elif self._safely(self.wrote) > self._most:
                self._end(f"wrote more than {self._most // MiB} MiB")

    def _safely(self, ask: Any) -> int:
        """An engine that is gone is noticed by whoever reads."""
        from docker.errors import DockerException
        from requests import RequestException

        try:
            return int(ask() or 0)
        except (DockerException, RequestException, OSError):
            return 0

    def _end(self, why: str) -> None:
        if not self.why:
            self.why = why
            threading.Thread(target=self._safely, args=(lambda: self._container.kill(),), daemon=True).start()
