"""A class graded by one command: everybody's points, whatever they do, and a run that can be killed at any time."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from autograder.classroom.assignment import Assignment
from autograder.classroom.feedback import render_feedback
from autograder.classroom.outcome import Journal
from autograder.lab import ROOT
from autograder.report.model import Verdict

from .conftest import Room
from .demo import CLASS

pytestmark = pytest.mark.timeout(1200)
Graded = tuple[Room, dict[str, Any]]


@pytest.mark.parametrize("name", CLASS)
def test_everybody_gets_what_they_earned(graded_class: Graded, name: str) -> None:
    room, ended = graded_class
    student = CLASS[name]
    outcome = room.outcome(name)
    assert outcome.graded, ended["stdout"] + ended["stderr"]
    assert room.marks(name) == student.exercises, {mark.test: mark.saw for mark in outcome.marks}
    assert outcome.lab_score == student.lab


def test_the_gradebook_holds_just_that(graded_class: Graded) -> None:
    room, ended = graded_class
    assert ended["code"] == 0, ended["stdout"] + ended["stderr"]
    book = room.book()
    assert {name: found["score"] for name, found in book.items()} == {
        name: student.score for name, student in CLASS.items()
    }
    assert book["linus"]["lab-01"] == (91.0, 100.0, False)
    assert "hidden test" in book["linus"]["put-in-place says"]
    assert book["ada"]["read-digits says"] is None
    assert "None of the lab's files" in book["mallory-ends"]["lab-01 says"]
    assert all(points[1] < 1000 for found in book.values() for points in found.values() if isinstance(points, tuple))


def test_a_notebook_that_nbgrader_cannot_store_is_named_in_one_line(graded_class: Graded) -> None:
    _, ended = graded_class
    (line,) = [line for line in (ended["stdout"] + ended["stderr"]).splitlines() if "could not store" in line]
    assert line.startswith("! nbgrader could not store the notebook of edsger: nbformat.reader.NotJSONError: ")
    assert "Traceback" not in ended["stdout"]


def test_nobody_found_the_gradebook_from_inside(graded_class: Graded) -> None:
    room, _ = graded_class
    (mark,) = [mark for mark in room.outcome("mallory-steals").marks if mark.test == "test-read-digits"]
    assert "FOUND []" in mark.said + mark.saw or "FOUND" not in mark.said
    assert not (room.root / "grades/lab-01/journal/steal.json").exists()


def test_the_exports_have_the_columns_that_platforms_import(graded_class: Graded) -> None:
    room, _ = graded_class
    folder = room.root / "grades/lab-01"
    header, possible, *students = csv.reader((folder / "canvas.csv").read_text("utf-8").splitlines())
    assert header == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "lab-01"]
    assert possible[0].strip() == "Points Possible"
    assert possible[-1] == "110"
    assert {row[3]: float(row[5]) for row in students} == {name: student.score for name, student in CLASS.items()}
    header, *students = csv.reader((folder / "moodle.csv").read_text("utf-8").splitlines())
    assert header[:4] == ["Username", "First name", "Surname", "Email address"]
    assert {row[0]: float(row[4]) for row in students} == {name: student.score for name, student in CLASS.items()}


def hidden_lines(assignment: Assignment) -> list[str]:
    """The lines of the notebook's hidden tests that say something of their own."""
    text = "\n".join(cell["source"] for cell in assignment.cells)
    parts = re.findall(r"### BEGIN HIDDEN TESTS\n(.*?)### END HIDDEN TESTS", text, re.S)
    found = [line.strip() for part in parts for line in part.splitlines() if len(line.strip()) > 30]
    assert len(found) > 20
    return found


def test_a_page_for_each_student_shows_no_hidden_test(graded_class: Graded, assignment: Assignment) -> None:
    room, _ = graded_class
    pages = {path.stem: path.read_text("utf-8") for path in (room.root / "grades/lab-01/feedback").glob("*.html")}
    assert pages.keys() == CLASS.keys()
    for name, page in pages.items():
        assert f"{CLASS[name].score:g} of 110 points" in page
        assert "<script" not in page
        for line in hidden_lines(assignment):
            assert line not in page
    assert "BEGIN HIDDEN" not in json.dumps(pages)


def test_a_hostile_page_is_only_text(graded_class: Graded, assignment: Assignment) -> None:
    room, _ = graded_class
    outcome = room.outcome("linus")
    mark = outcome.marks[0].model_copy(update={"saw": "<script>alert(1)</script>\x1b[31m", "verdict": Verdict.FAILED})
    page = render_feedback(assignment, outcome.model_copy(update={"marks": (mark,)}))
    assert "<script>alert" not in page
    assert "\x1b" not in page


def test_a_second_run_grades_nothing_anew(graded_class: Graded) -> None:
    room, _ = graded_class
    before = room.book()
    ended = room.grade("-j", "2")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"0 anew in 0 s, {len(CLASS)} as before" in ended.stdout.replace("in 1 s", "in 0 s")
    assert room.book() == before


def add_quick(room: Room, count: int) -> list[str]:
    """Students whose notebook can't be read, with no lab: graded in a moment, and each by a process of its own."""
    names = [f"student-{number:02}" for number in range(count)]
    for name in names:
        folder = room.root / "submitted" / name / "lab-01"
        folder.mkdir(parents=True)
        (folder / "01-serving.ipynb").write_text("{")
    return names


def test_a_killed_run_goes_on_and_ends_in_the_same_gradebook(room: Room, tmp_path: Path) -> None:
    names = add_quick(room, 8)
    journal = Journal(room.root, "lab-01")
    process = subprocess.Popen(
        room.command("-j", "1"), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 300
    while len(list(journal.folder.glob("s*.json"))) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    at_work = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert psutil.wait_procs(at_work, timeout=60)[1] == []  # whoever wanted their outcome is gone, so they go
    kept = {path.name: path.stat().st_mtime_ns for path in journal.folder.glob("s*.json")}
    assert 3 <= len(kept) < 8
    ended = room.grade("-j", "2")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{len(kept)} as before" in ended.stdout
    assert {name: (journal.folder / name).stat().st_mtime_ns for name in kept} == kept

    other = Room(tmp_path / "other", room.assignment)
    assert add_quick(other, 8) == names
    assert other.grade("-j", "1").returncode == 0
    assert other.book() == room.book()


def test_what_has_changed_is_graded_again_and_nothing_else(room: Room) -> None:
    add_quick(room, 2)
    assert room.grade().returncode == 0
    journal = Journal(room.root, "lab-01")
    before = {name: journal.path(name).stat().st_mtime_ns for name in ("student-00", "student-01")}
    (room.root / "submitted/student-01/lab-01/01-serving.ipynb").write_text("[")
    ended = room.grade()
    assert "1 anew" in ended.stdout
    assert "1 as before" in ended.stdout
    assert journal.path("student-00").stat().st_mtime_ns == before["student-00"]
    assert journal.path("student-01").stat().st_mtime_ns > before["student-01"]


def test_what_could_not_be_graded_is_no_zero(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outcome with trouble in it is flagged, left out of the gradebook and of the exports, and tried again."""
    add_quick(room, 2)
    assert room.grade().returncode == 0
    journal = Journal(room.root, "lab-01")
    spoilt = room.outcome("student-01").model_copy(update={"trouble": ("the lab: no disk",)})
    from autograder.classroom import grade

    (room.root / "submitted/student-01/lab-01/01-serving.ipynb").write_text("[")

    def run_all(tasks: list[Any], *_: Any) -> Any:
        yield from ((task, spoilt.model_copy(update={"digest": task.digest})) for task in tasks)

    monkeypatch.setattr(grade, "run_all", run_all)
    assert grade.grade_class("lab-01", room.root) == 3
    rows = list(csv.reader((room.root / "grades/lab-01/canvas.csv").read_text("utf-8").splitlines()))
    assert [row[5] for row in rows[2:]] == ["0", ""]
    assert journal.find("student-01", spoilt.digest) is None
    monkeypatch.undo()
    assert "1 anew" in room.grade().stdout


def test_one_submission_that_ends_the_grader_stops_nobody(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    add_quick(room, 2)
    from autograder.classroom import grade

    def run_all(tasks: list[Any], *_: Any) -> Any:
        from autograder.classroom.batch import run_all as really

        yield tasks[0], RuntimeError("the process that grades is gone")
        yield from really(tasks[1:], 1)

    monkeypatch.setattr(grade, "run_all", run_all)
    assert grade.grade_class("lab-01", room.root) == 3
    assert room.book().keys() == {"student-01"}
    text = (room.root / "grades/lab-01/canvas.csv").read_text("utf-8")
    assert "student-00" not in text


def test_the_grade_does_not_depend_on_how_many_are_graded_at_a_time(graded_class: Graded, room: Room) -> None:
    names = ("mallory-ends", "barbara", "linus")
    room.add(*names)
    assert room.grade("-j", "1").returncode == 0
    side_by_side, alone = graded_class[0].book(), room.book()
    assert set(alone) == set(names)
    for name in names:
        mine = {cell: what for cell, what in alone[name].items() if not cell.endswith("says")}
        assert mine == {cell: what for cell, what in side_by_side[name].items() if not cell.endswith("says")}
