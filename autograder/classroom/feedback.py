"""What a student reads about a graded assignment: the comments in the gradebook, and one HTML page.

The page needs nothing else: no script, no request. The lab's report is on it in a frame of its own. Hidden tests and
hidden checks are never on it: an exercise says what its mark says, and a check what its report says.
"""

from __future__ import annotations

import os
import tempfile
from functools import cache
from importlib import resources
from pathlib import Path

import jinja2

from autograder.classroom.assignment import LAB_POINTS, Assignment
from autograder.classroom.exam.model import Mark
from autograder.classroom.outcome import Outcome
from autograder.report.html import render_html
from autograder.report.model import Verdict
from autograder.report.wording import plain

MARKS = {Verdict.PASSED: "✓", Verdict.FAILED: "✗", Verdict.ERROR: "!"}


def number(points: float) -> str:
    """Points as people write them: 7, or 7.5."""
    return f"{points:g}"


def comment_on_mark(mark: Mark) -> str:
    """The comment on an exercise; empty when it was passed."""
    return "" if mark.verdict is Verdict.PASSED else plain(mark.saw)


def comment_on_lab(outcome: Outcome) -> str:
    """The comment on the lab: which skills are still open, and why there are no points if there are none."""
    report = outcome.lab
    if report is None:
        return " ".join(outcome.notes) or "The lab could not be graded."
    lines = [f"{report.score} of {LAB_POINTS} points."]
    for verdict, what in (
        (Verdict.FAILED, "Not yet right"),
        (Verdict.BLOCKED, "Waiting for one of these"),
        (Verdict.NOT_RUN, "Not run on this machine"),
        (Verdict.ERROR, "Could not be graded"),
    ):
        found = [result for result in report.results if result.verdict is verdict]
        if found:
            lines += [f"{what}:", *(f"- {result.title} ({result.points})" for result in found)]
    lines.append(f"To repeat this run: SEED={report.seed}.")
    return "\n".join(lines)


def render_feedback(assignment: Assignment, outcome: Outcome) -> str:
    """The whole page as text, to be stored as UTF-8."""
    return _template().render(
        assignment=assignment,
        outcome=outcome,
        report=render_html(outcome.lab) if outcome.lab else "",
        lab_points=LAB_POINTS,
    )


def write_feedback(assignment: Assignment, outcome: Outcome, folder: Path) -> Path:
    """Writes a student's page into ``folder``; it is there complete or not at all. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{outcome.student}.html"
    handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as stream:
            stream.write(render_feedback(assignment, outcome))
        Path(name).chmod(0o644)
        Path(name).replace(target)
    finally:
        Path(name).unlink(missing_ok=True)
    return target


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"plain": plain, "number": number}
    environment.globals |= {"MARKS": MARKS}
    source = resources.files("autograder.classroom").joinpath("feedback.html.jinja").read_text("utf-8")
    return environment.from_string(source)
