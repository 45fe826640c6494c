"""nbgrader's own commands work from the repository's root, and are as safe as ours."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest

from autograder.classroom.assignment import Assignment, assignments, make_sources, source_notebook
from autograder.lab import ROOT

from .conftest import Room
from .test_class import hidden_lines

pytestmark = pytest.mark.timeout(900)
Nbgrader = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def room_with_nbgrader(tmp_path_factory: pytest.TempPathFactory, assignment: Assignment) -> Room:
    """A course folder whose configuration is the repository's, for a root of its own."""
    root = tmp_path_factory.mktemp("course")
    text = (ROOT / "nbgrader_config.py").read_text("utf-8")
    (root / "nbgrader_config.py").write_text(text)  # it looks at where it lies itself
    return Room(root, assignment)


@pytest.fixture
def nbgrader(room_with_nbgrader: Room, temporary: Path) -> Nbgrader:
    """Runs an nbgrader command in that folder, with nothing of ours on PATH."""

    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        program = Path(sys.executable).parent / "nbgrader"
        variables = {**os.environ, "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(temporary)}
        ended = subprocess.run(
            [program, *argv], cwd=room_with_nbgrader.root, env=variables, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        for path in temporary.iterdir():  # what Jupyter keeps in a home
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return ended

    return run


def test_its_commands_one_after_the_other(nbgrader: Nbgrader, room_with_nbgrader: Room, assignment: Assignment) -> None:
    """generate_assignment, autograde, generate_feedback, export, in a course folder that has nothing yet."""
    room = room_with_nbgrader
    nbgrader("generate_assignment", "lab-01")
    released = room.root / "release/lab-01"
    assert (released / "labs/lab-01-serving/train.py").is_file()
    notebook = json.loads((released / "01-serving.ipynb").read_text("utf-8"))
    text = "\n".join("".join(cell["source"]) for cell in notebook["cells"])
    assert "BEGIN HIDDEN" not in text
    assert "BEGIN SOLUTION" not in text
    assert "(labs/lab-01-serving/README.md)" in text
    assert "../../labs" not in text

    for name in ("mallory-ends", "mallory-patches"):
        room.add(name)
        room.pretend(name)
    nbgrader("autograde", "lab-01")
    book = room.book()
    assert {name: found["score"] for name, found in book.items()} == {
        "mallory-ends": 6.0,
        "mallory-patches": 0.0,
    }
    assert (room.root / "autograded/mallory-ends/lab-01/01-serving.ipynb").is_file()

    nbgrader("generate_feedback", "lab-01")
    pages = list((room.root / "feedback").rglob("*.html"))
    assert len(pages) == 2
    for page in pages:
        html = page.read_text("utf-8")
        plain = re.sub(r"<[^>]+>", "", html)
        for line in hidden_lines(assignment):
            assert line not in html
            assert line not in unescape(plain)
        assert "BEGIN HIDDEN" not in html
        assert "1000" not in re.findall(r"Score: [^)]*\)", plain)

    nbgrader("export")
    with (room.root / "grades.csv").open() as stream:
        rows = {row["student_id"]: row for row in csv.DictReader(stream)}
    assert float(rows["mallory-ends"]["score"]) == 6.0
    assert float(rows["mallory-ends"]["max_score"]) == 110.0
    nbgrader("export", "--exporter=autograder.classroom.export.Canvas", "--to=canvas.csv")
    assert "mallory-ends,,,mallory-ends,,6" in (room.root / "canvas.csv").read_text("utf-8")


def test_the_lists_that_formgrader_shows_have_the_assignment(nbgrader: Nbgrader, room_with_nbgrader: Room) -> None:
    """formgrader's pages are made from this API."""
    from autograder.classroom.gradebook import open_api

    nbgrader("generate_assignment", "lab-01", "--force")
    api = open_api(room_with_nbgrader.root)
    found = {one["name"]: one for one in api.get_assignments()}
    assert found.keys() == {one.name for one in assignments()}
    assert found["lab-01"]["max_score"] == 110.0
    assert [notebook["name"] for notebook in api.get_notebooks("lab-01")] == ["01-serving"]


def test_a_source_is_made_once_and_made_anew_when_it_is_not_current(tmp_path: Path, assignment: Assignment) -> None:
    make_sources(tmp_path)
    notebook = tmp_path / "source/lab-01/01-serving.ipynb"
    first = notebook.stat().st_mtime_ns
    make_sources(tmp_path)
    assert notebook.stat().st_mtime_ns == first
    (tmp_path / "source/.lab-01").write_text("something else")
    make_sources(tmp_path)
    assert notebook.stat().st_mtime_ns > first
    made = {one.name for one in assignments()}
    assert {path.name for path in (tmp_path / "source").iterdir()} == made | {f".{name}" for name in made}


def test_the_lab_is_a_task_of_the_notebook(assignment: Assignment) -> None:
    task = source_notebook(assignment)["cells"][-1]
    assert task["metadata"]["nbgrader"]["task"] is True
    assert task["metadata"]["nbgrader"]["points"] == 100
    assert task["metadata"]["nbgrader"]["grade_id"] == "lab-01"
