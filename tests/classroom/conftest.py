"""Course folders for classes, and what every test of a class has to leave behind: nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from autograder.classroom.assignment import Assignment, load_assignment
from autograder.classroom.exam.model import Mark
from autograder.classroom.gradebook import open_api
from autograder.classroom.outcome import Journal, Outcome
from autograder.classroom.preprocessors import digest_of
from autograder.lab import ROOT
from autograder.pods import walls
from autograder.report.model import Verdict

from .demo import CLASSES
from .students import write_student

OTHERS: list[psutil.Process] = []


@pytest.fixture(scope="session")
def assignment() -> Assignment:
    return load_assignment("lab-01")


@pytest.fixture(scope="session")
def walled() -> None:
    if not walls().namespaces:
        pytest.skip("this machine offers no namespaces, so nobody's notebook is run")


@pytest.fixture(scope="module", autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder for temporary files of everything in here; empty whenever nothing is at work."""
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        patch.setenv("TMPDIR", str(folder))
        patch.setenv("RUNTIME", "local")
        patch.setenv("PATH", os.environ["PATH"])  # nbgrader's configuration puts our programs on it
        yield folder


@pytest.fixture(autouse=True)
def nothing_is_left_behind(temporary: Path) -> Iterator[None]:
    OTHERS[:] = psutil.Process().children(recursive=True)
    yield
    gone = psutil.wait_procs(set(psutil.Process().children(recursive=True)) - set(OTHERS), timeout=10)
    assert [str(process) for process in gone[1]] == []
    assert list(temporary.iterdir()) == []


class Room:
    """A course's folder with students in it, and what the commands make of it."""

    def __init__(self, root: Path, assignment: Assignment) -> None:
        self.root, self.assignment, self.students = root, assignment, CLASSES[assignment.name]

    def add(self, *names: str) -> None:
        for name in names:
            write_student(self.root, self.assignment, name, self.students[name])

    def command(self, *argv: str) -> list[str]:
        return [sys.executable, "-m", "autograder", "class", self.assignment.name, "--root", str(self.root), *argv]

    def grade(self, *argv: str) -> subprocess.CompletedProcess[str]:
        command = self.command("--runtime", "local", *argv)
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=900)

    def pretend(self, student: str) -> Outcome:
        """Puts into the journal what grading a student's work will come to: a test of what happens then is quick."""
        earned = self.students[student].exercises
        marks = [
            Mark(
                test=exercise.test,
                points=exercise.points,
                verdict=Verdict.PASSED if exercise.test in earned else Verdict.FAILED,
                saw="" if exercise.test in earned else "It does not hold.",
            )
            for exercise in self.assignment.exercises
        ]
        digest = digest_of(self.root, self.assignment, student)
        outcome = Outcome(student=student, assignment=self.assignment.name, digest=digest, marks=tuple(marks), lab=None)
        Journal(self.root, self.assignment.name).keep(outcome)
        return outcome

    def outcome(self, student: str) -> Outcome:
        found = Journal(self.root, self.assignment.name).last(student)
        assert found is not None
        return found

    def marks(self, student: str) -> dict[str, float]:
        """The points for the exercises that earned some."""
        return {mark.test: mark.score for mark in self.outcome(student).marks if mark.score}

    def book(self) -> dict[str, dict[str, Any]]:
        """All that the gradebook holds about the students' work, by student and cell."""
        found: dict[str, dict[str, Any]] = {}
        with open_api(self.root).gradebook as gradebook:
            for submission in gradebook.assignment_submissions(self.assignment.name):
                mine = found.setdefault(submission.student.id, {"score": submission.score})
                for notebook in submission.notebooks:
                    for grade in notebook.grades:
                        mine[grade.name] = (grade.auto_score, grade.max_score, grade.needs_manual_grade)
                    for comment in notebook.comments:
                        mine[f"{comment.name} says"] = comment.auto_comment
        return found


@pytest.fixture
def room(tmp_path: Path, assignment: Assignment, walled: None) -> Room:
    """An empty course folder."""
    return Room(tmp_path / "course", assignment)


@pytest.fixture(scope="module")
def graded_class(
    once: Callable[[str, Callable[[Path], None]], Path], assignment: Assignment, walled: None, temporary: Path
) -> tuple[Room, dict[str, Any]]:
    """The whole demo class, graded two at a time by the command; the room, and how the command ended."""

    def fill(folder: Path) -> None:
        room = Room(folder / "course", assignment)
        room.add(*room.students)
        ended = room.grade("-j", "2")
        said = {"code": ended.returncode, "stdout": ended.stdout, "stderr": ended.stderr}
        (folder / "ended.json").write_text(json.dumps(said))

    folder = once("class", fill)
    return Room(folder / "course", assignment), json.loads((folder / "ended.json").read_text())


__all__ = ["Room"]
