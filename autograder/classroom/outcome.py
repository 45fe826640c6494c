"""What came out of grading one student's assignment, and the journal that keeps it.

The journal is a folder with one file a student, put in its place complete or not at all. A run that is killed loses the
submissions that it was at, and nothing else; whoever comes next goes on from the files that are there.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from autograder.classroom.assignment import LAB_POINTS, Assignment
from autograder.classroom.exam.model import Mark
from autograder.lab import ROOT
from autograder.report.model import Model, Report, Text, Verdict

STUDENT = re.compile(r"^[^/\\\x00-\x1f\x7f]{1,120}$")


class Outcome(Model):
    """One student's graded assignment.

    Attributes:
        student: the name of their folder in ``submitted/``.
        assignment: ``lab-01``.
        digest: what was graded and by what; another digest means that it has to be graded again.
        marks: one for each exercise of the notebook.
        lab: the lab's report; ``None`` when no file of it was handed in.
        notes: what the student should know, a sentence each.
        trouble: what could not be graded and why, for the instructor; empty when everything was.
        seconds: how long grading took.
        machine: where it was graded.
    """

    student: Annotated[str, Field(pattern=STUDENT.pattern)]
    assignment: str
    digest: str
    marks: tuple[Mark, ...]
    lab: Report | None
    notes: tuple[Text, ...] = ()
    trouble: tuple[Text, ...] = ()
    seconds: Annotated[float, Field(ge=0)] = 0.0
    machine: str = ""

    @property
    def graded(self) -> bool:
        """Whether every part has a verdict about the student's work."""
        return not (
            self.trouble
            or any(mark.verdict is Verdict.ERROR for mark in self.marks)
            or (self.lab is not None and not self.lab.graded)
        )

    @property
    def left_out(self) -> int:
        """How many checks this machine could not run."""
        return self.lab.count(Verdict.NOT_RUN) if self.lab else 0

    @property
    def lab_score(self) -> float:
        return float(self.lab.score) if self.lab else 0.0

    @property
    def score(self) -> float:
        return self.lab_score + sum(mark.score for mark in self.marks)

    @property
    def max_score(self) -> float:
        return LAB_POINTS + sum(mark.points for mark in self.marks)

    def why(self) -> str:
        """What could not be graded, as one sentence for the instructor."""
        missing = [*self.trouble]
        missing += [f"the exercise {mark.test} ({mark.saw})" for mark in self.marks if mark.verdict is Verdict.ERROR]
        if self.lab is not None and not self.lab.graded:
            missing.append(f"{self.lab.count(Verdict.ERROR)} checks of the lab")
        return "; ".join(missing)


def grader_digest(assignment: Assignment) -> str:
    """A hash of everything that decides a grade: the notebook with its tests, the checks, what they are made of."""
    digest = hashlib.sha256()
    package = ROOT / "autograder"
    checks = package / "checks" / assignment.lab.id.replace("-", "_")
    files = [assignment.notebook, assignment.lab.folder / "lab.toml", *checks.glob("*.py")]
    for part in ("checking", "services", "classroom/exam"):
        files += (package / part).glob("*.py")
    for path in sorted(files):
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


class Journal:
    """The outcomes of an assignment that have been reached so far."""

    def __init__(self, root: Path, assignment: str) -> None:
        self.folder = root / "grades" / assignment / "journal"

    def path(self, student: str) -> Path:
        return self.folder / f"{student}.json"

    def find(self, student: str, digest: str) -> Outcome | None:
        """The outcome for just this work; ``None`` when there is none, or when it has to be tried again."""
        outcome = self.last(student)
        if outcome is None or outcome.digest != digest or not outcome.graded:
            return None
        return outcome

    def last(self, student: str) -> Outcome | None:
        """Whatever was found last for a student; ``None`` when there is nothing that can be read."""
        try:
            return Outcome.model_validate_json(self.path(student).read_bytes())
        except (OSError, ValidationError):
            return None

    def keep(self, outcome: Outcome) -> None:
        """Stores an outcome: it is on the disk when this comes back. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=self.folder)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(outcome.model_dump_json())
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).replace(self.path(outcome.student))
        finally:
            Path(name).unlink(missing_ok=True)

    def forget(self, student: str) -> None:
        """Removes an outcome that is about to be replaced: until then nobody shall take it for the present one."""
        self.path(student).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Removes what a killed run was writing."""
        for path in self.folder.glob(".*.part"):
            path.unlink(missing_ok=True)
