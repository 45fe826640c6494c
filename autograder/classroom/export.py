"""Grades as the learning platforms import them; each is also a plug-in for nbgrader's own command:

    nbgrader export --exporter=autograder.classroom.export.Canvas --to=canvas.csv
    nbgrader export --exporter=autograder.classroom.export.Moodle --to=moodle.csv

Canvas wants its five columns about a student, then one for each assignment, and a line with the points possible. Moodle
takes any columns and asks which is which; these are named so that it guesses right. Somebody who is not fully graded
has an empty cell: an import changes nothing there.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbgrader.plugins.export import ExportPlugin

from autograder.classroom.outcome import Journal

CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
MOODLE = ("Username", "First name", "Surname", "Email address")


@dataclass(frozen=True)
class Row:
    """One student's points.

    Attributes:
        student: their id in the gradebook: the name of their folder.
        first, last, email: what the gradebook knows about them.
        points: by assignment; ``None`` where they are not (fully) graded.
    """

    student: str
    first: str
    last: str
    email: str
    points: dict[str, float | None]


def rows(gradebook: Any, root: Path, only: Iterable[str] = ()) -> tuple[dict[str, float], list[Row]]:
    """The assignments with what each is worth, and everybody's points."""
    wanted = set(only)
    chosen = [found for found in gradebook.assignments if not wanted or found.name in wanted]
    worth = {found.name: float(found.max_score) for found in sorted(chosen, key=lambda found: str(found.name))}
    found = []
    for student in sorted(gradebook.students, key=lambda student: str(student.id)):
        points: dict[str, float | None] = dict.fromkeys(worth)
        for submission in student.submissions:
            if submission.name in points and not _unfinished(root, submission.name, student.id):
                points[submission.name] = max(0.0, submission.score - submission.late_submission_penalty)
        names = (student.first_name or "", student.last_name or "", student.email or "")
        found.append(Row(student.id, *names, points))
    return worth, found


def _unfinished(root: Path, assignment: str, student: str) -> bool:
    """Whether the last run came to no end with a submission, or could not grade all of it."""
    journal = Journal(root, assignment)
    outcome = journal.last(student)
    return not outcome.graded if outcome is not None else journal.folder.is_dir()


def canvas(worth: dict[str, float], rows: list[Row]) -> str:
    """The CSV that Canvas imports: students are found by their login (`SIS Login ID`)."""
    lines: list[list[str]] = [[*CANVAS, *worth], ["    Points Possible", "", "", "", "", *map(_number, worth.values())]]
    for row in rows:
        name = ", ".join(part for part in (row.last, row.first) if part) or row.student
        lines.append([name, "", "", row.student, "", *(_number(row.points[name]) for name in worth)])
    return _csv(lines)


def moodle(worth: dict[str, float], rows: list[Row]) -> str:
    """The CSV that Moodle imports: students are found by `Username`."""
    lines = [[*MOODLE, *(f"Assignment: {name} (Real)" for name in worth)]]
    for row in rows:
        lines.append([row.student, row.first, row.last, row.email, *(_number(row.points[name]) for name in worth)])
    return _csv(lines)


def _number(points: float | None) -> str:
    return "" if points is None else f"{points:g}"


def _csv(lines: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([_harmless(cell) for cell in line] for line in lines)
    return text.getvalue()


def _harmless(cell: str) -> str:
    """A text that a spreadsheet would take for a formula gets an apostrophe in front."""
    return f"'{cell}" if cell[:1] in ("=", "+", "@", "\t", "\r") else cell


class _Export(ExportPlugin):  # type: ignore[misc]
    name = ""

    def export(self, gradebook: Any) -> None:
        """Writes the file that ``--to`` names."""
        target = Path(self.to or f"{self.name}.csv")
        root = Path(self.parent.coursedir.root) if self.parent is not None else Path.cwd()
        text = {"canvas": canvas, "moodle": moodle}[self.name](*rows(gradebook, root, map(str, self.assignment)))
        target.write_text(text, "utf-8")
        self.log.info("Grades for %s are in %s", self.name.capitalize(), target)


class Canvas(_Export):
    """nbgrader's export for Canvas."""

    name = "canvas"


class Moodle(_Export):
    """nbgrader's export for Moodle."""

    name = "moodle"
