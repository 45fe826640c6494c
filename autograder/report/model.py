"""The one model of a report; every renderer reads it and nothing else.

All classes are frozen and validated: what crosses from the process that runs the checks to the one that writes
the grade is this, as JSON. Points are never negative and never more than a check is worth.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(max_length=20_000)]
CheckId = Annotated[str, Field(pattern=r"^lab-\d\d/[a-z0-9-]+$")]


class Model(BaseModel):
    """What every part of a report has in common: unchangeable, and nothing unknown in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Verdict(StrEnum):
    """The five ways in which a check can end."""

    PASSED = "passed"
    FAILED = "failed"
    BLOCKED = "blocked"
    NOT_RUN = "not run"
    ERROR = "error"


class Finding(Model):
    """What a check that did not pass has to say: seen, expected, and the next step."""

    saw: Text
    expected: Text = ""
    hint: Text = ""


class Evidence(Model):
    """One thing that a check saw, to be shown folded: a request and its answer, a log's end, a plot.

    Attributes:
        title: what it is, in a few words.
        kind: ``text``, ``log``, ``http`` (a request and its answer as text) or ``load``.
        text: the content for all kinds but ``load``.
        load: for ``load``: one point per answered request, in the order of time.
    """

    title: Annotated[str, Field(max_length=200)]
    kind: Annotated[str, Field(pattern="^(text|log|http|load)$")] = "text"
    text: Text = ""
    load: tuple[LoadPoint, ...] = ()


class LoadPoint(Model):
    """One request of a load generator.

    Attributes:
        at: seconds since the load began.
        seconds: how long the answer took.
        answer: what it was: a version such as ``"12"``, or the failure in a few words.
        failed: whether it counts as a failure.
    """

    at: float
    seconds: float
    answer: Annotated[str, Field(max_length=200)]
    failed: bool = False


class Result(Model):
    """The verdict of one check on one submission."""

    check: CheckId
    skill: Annotated[int, Field(ge=1, le=12)]
    title: Text
    points: Annotated[int, Field(ge=0, le=100)]
    verdict: Verdict
    seconds: Annotated[float, Field(ge=0)] = 0.0
    finding: Finding | None = None
    blocked_by: tuple[CheckId, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    visible: bool = False

    @property
    def score(self) -> int:
        """The points that count: all of them for a pass, otherwise none."""
        return self.points if self.verdict is Verdict.PASSED else 0


class Report(Model):
    """All verdicts of one submission.

    Attributes:
        lab: the lab's id, ``lab-01-serving``.
        title: the lab's title.
        submission: the name that the submission was graded under.
        seed: what made this run's models, inputs and numbers; the same seed gives the same grade.
        runtime: ``local`` or ``docker``.
        isolation: what stood between the student's code and the machine, as sentences.
        versions: what it ran on, for example ``{"tfserving": "embedded model server …"}``.
        notes: anything about the submission that the student should know (files that were left out).
        skills: the titles of the skills by number.
        results: one for each check, in the lab's order.
        seconds: how long grading took.
        started: when, as ISO 8601 with its zone.
        complete: whether all of the lab's checks are in it (``False`` for the visible part alone).
    """

    lab: str
    title: str
    submission: str
    seed: int
    runtime: str
    isolation: tuple[str, ...]
    versions: dict[str, str]
    notes: tuple[str, ...] = ()
    skills: dict[int, str]
    results: tuple[Result, ...]
    seconds: Annotated[float, Field(ge=0)]
    started: str
    complete: bool = True

    @property
    def score(self) -> int:
        return sum(result.score for result in self.results)

    @property
    def max_score(self) -> int:
        return sum(result.points for result in self.results)

    @property
    def graded(self) -> bool:
        """Whether every check has a verdict about the student's work (no ``error`` among them)."""
        return all(result.verdict is not Verdict.ERROR for result in self.results)

    def count(self, verdict: Verdict) -> int:
        return sum(result.verdict is verdict for result in self.results)


def report_schema() -> dict[str, Any]:
    """The report's JSON schema."""
    return Report.model_json_schema()


Evidence.model_rebuild()
