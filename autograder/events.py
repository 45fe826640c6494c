"""What ``grading`` and its worker say to each other: the job, and what comes of it, one JSON object a line."""

from __future__ import annotations

import os
import threading
from typing import Any

from pydantic import BaseModel, ConfigDict

from autograder.lab import Lab
from autograder.pods import Seat
from autograder.report import Result


class Job(BaseModel):
    """What to grade: everything that the worker is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lab: Lab
    seat: Seat
    seed: int | None
    visible: bool


class Event(BaseModel):
    """One line from the worker: exactly one of its fields is set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checks: tuple[Result, ...] | None = None  # all checks that will run, before they do
    started: str | None = None
    result: Result | None = None
    note: str | None = None
    seed: int | None = None
    version: tuple[str, str] | None = None
    trace: str | None = None  # for the grader's own log; never shown to a student
    done: bool | None = None


class Wire:
    """Writes events to the pipe."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._stream = os.fdopen(descriptor, "w", encoding="utf-8")
        self._lock = threading.Lock()

    def send(self, **fields: Any) -> None:
        self.line(Event(**fields).model_dump_json(exclude_none=True))

    def line(self, text: str) -> None:
        with self._lock:
            self._stream.write(text + "\n")
            self._stream.flush()
