"""What comes of a job: one JSON object a line, as ``grading`` reads it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from autograder.report import Result


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
