"""What ``grading`` tells its worker, and the pipe by which the worker answers.

Without pydantic: the worker sets its checks' services going first, and imports that afterwards.
What it writes is validated by who reads it, as an ``Event``.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autograder.pods import Seat


@dataclass(frozen=True)
class Job:
    """What to grade: everything that the worker is told.

    Attributes:
        lab: the short name of the lab.
        checks: the package that holds its checks.
        files: what a student hands in.
        seat: where the worker finds itself.
        seed: what models, inputs and names are made from; ``None``: a number from the submission's content.
        visible: run the visible checks only.
    """

    lab: str
    checks: str
    files: tuple[str, ...]
    seat: Seat
    seed: int | None
    visible: bool

    def line(self) -> str:
        """The job as one line."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def read(cls, line: str | bytes) -> Job:
        """The job from its line."""
        told = json.loads(line)
        seat = told["seat"]
        seat |= {name: Path(seat[name]) for name in ("submission", "folder")}
        return cls(**told | {"files": tuple(told["files"]), "seat": Seat(**seat)})


class Wire:
    """Writes events to the pipe."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._stream = os.fdopen(descriptor, "w", encoding="utf-8")
        self._lock = threading.Lock()

    def send(self, **fields: Any) -> None:
        """One event, by the names of the fields of an ``Event``."""
        self.line(json.dumps(fields, default=lambda model: model.model_dump(mode="json")))

    def line(self, text: str) -> None:
        """A line as it is."""
        with self._lock:
            self._stream.write(text + "\n")
            self._stream.flush()
