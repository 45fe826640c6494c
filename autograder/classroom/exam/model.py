"""What goes into an examination and what comes out, as data that is validated on both sides."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from autograder.report.model import Model, Text, Verdict


class Cell(Model):
    """One code cell of the instructor's notebook.

    Attributes:
        kind: ``plain``; ``solution``: the student's own goes here; ``helper``: ours, but runs at the desk, beside the
            student's; ``demonstration``: for readers, so only what it defines is run; ``test``: worth points.
        name: its id for nbgrader; empty for a plain cell.
        points: what a test is worth.
        tagged: whether its author expects it to raise an exception.
    """

    kind: Annotated[str, Field(pattern="^(plain|solution|helper|demonstration|test)$")]
    source: str
    name: str = ""
    points: float = 0.0
    tagged: bool = False


class Paper(Model):
    """An examination: everything that the invigilator is told.

    Attributes:
        cells: the instructor's code cells, in order.
        handed_in: the student's cells by their ids.
        extra: what the student defined in cells of their own.
        lab: the id of the lab; its services may be started by the notebook.
        folder: the folder of the pod's files.
        state: where the notebook's services keep their state; no program of the student's sees it.
        namespaces: whether this runs inside the pod's own walls.
        user: the numeric user of the student's programs.
        call_seconds: how long one call of the student's code may take.
    """

    cells: tuple[Cell, ...]
    handed_in: dict[str, str]
    extra: tuple[str, ...] = ()
    lab: str
    folder: Path
    state: Path
    namespaces: bool
    user: int | None
    call_seconds: float = 30.0


class Mark(Model):
    """The verdict on one exercise.

    Attributes:
        test: the test cell's id.
        points: what it is worth.
        verdict: ``passed``, ``failed``, or ``error`` when the test could not be run.
        saw: what a test that was not passed saw; never a line of a hidden test.
        said: what the student's code printed meanwhile.
    """

    test: Annotated[str, Field(max_length=200)]
    points: Annotated[float, Field(ge=0)]
    verdict: Verdict
    saw: Text = ""
    said: Text = ""

    @property
    def score(self) -> float:
        """The points that count: all of them for a pass, otherwise none."""
        return self.points if self.verdict is Verdict.PASSED else 0.0


class Word(Model):
    """One line from the invigilator: exactly one of its fields is set."""

    mark: Mark | None = None
    trace: str | None = None  # for the instructor's log; never shown to a student
    done: bool | None = None
