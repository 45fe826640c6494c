"""Module 2's exercises in an examination: async functions, our helpers beside the student's code, demonstrations."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbgrader.preprocessors import ClearSolutions

from autograder.classroom.assignment import Assignment, load_assignment
from autograder.classroom.exam.calls import simple
from autograder.classroom.exam.hold import cells_of, examine_notebook
from autograder.report.model import Verdict

from .conftest import Room
from .demo_apis import ALL, CLASS, HELPER, RIGHT, WRONG

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def apis() -> Assignment:
    return load_assignment("lab-02")


def test_what_is_released_earns_nothing(apis: Assignment, walled: None) -> None:
    released, _ = ClearSolutions().preprocess(nbformat.read(apis.notebook, as_version=4), {})
    handed_in = {
        cell.metadata.nbgrader.grade_id: cell.source
        for cell in released.cells
        if cell.metadata.get("nbgrader", {}).get("solution")
    }
    marks = examine_notebook(apis, handed_in)
    assert {mark.test: mark.verdict for mark in marks} == dict.fromkeys(ALL, Verdict.FAILED)
    assert all("NotImplementedError" in mark.saw for mark in marks)


# What a student reads about each of the wrong answers: it leads to the mistake.
SAID = {
    "problems": ("of 5000 errors, 5000 are left", "an error has loc, msg, type, ctx", "json.dumps(errors)"),
    "in-time": ("await when(seconds=0.3, drip=0.03)", "(500, None) when the model server says 500", "[[1]]"),
    "retries": ("not spread from 0 on", "[500, 200, 200]", "4 attempts when the model server says 503, 503, 503"),
    "key": ('"==" not in watched', "not compared with hmac.compare_digest", "non-ASCII"),
}


@pytest.mark.parametrize("number", range(3))
def test_a_wrong_answer_earns_nothing_and_is_told_why(apis: Assignment, number: int, walled: None) -> None:
    handed_in = {name: wrong[number] for name, wrong in WRONG.items()}
    marks = {mark.test: mark for mark in examine_notebook(apis, handed_in, (HELPER,))}
    assert {name: mark.verdict for name, mark in marks.items()} == dict.fromkeys(ALL, Verdict.FAILED)
    for name, said in SAID.items():
        assert said[number] in marks[f"test-{name}"].saw


def test_a_plain_function_is_no_async_one(apis: Assignment, walled: None) -> None:
    """As in a notebook, where nobody can await what it gives."""
    handed_in = RIGHT | {"retries": "def with_retries(ask, backoff, sleep): return 200, 'predictions 2'\n"}
    marks = {mark.test: mark for mark in examine_notebook(apis, handed_in, (HELPER,))}
    assert {name: mark.score for name, mark in marks.items()} == ALL | {"test-retries": 0}
    assert "can't be used in 'await' expression" in marks["test-retries"].saw


def test_a_demonstration_is_not_run_but_what_it_defines_is_there(apis: Assignment) -> None:
    found = [cell for cell in cells_of(apis) if cell.kind == "demonstration"]
    text = "\n".join(cell.source for cell in found)
    assert "inspect.getsource(problems)" in text  # the student's code is no business of the invigilator's
    assert "autograder.up" in text
    defined = {getattr(node, "name", "") for cell in found for node in simple(cell.source)}
    assert {"body_with", "outcome", "contract", "look"} <= defined


def test_a_class_is_graded_by_the_command(tmp_path: Path, apis: Assignment, walled: None) -> None:
    room = Room(tmp_path / "course", apis)
    names = [name for name, student in CLASS.items() if not student.files]
    room.add(*names)
    ended = room.grade("-j", "2")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for name in names:
        saw = {mark.test: mark.saw for mark in room.outcome(name).marks}
        assert room.marks(name) == CLASS[name].exercises, saw
    assert {name: found["score"] for name, found in room.book().items()} == {name: CLASS[name].score for name in names}
    page = (room.root / "grades/lab-02/feedback/linus.html").read_text("utf-8")
    assert "5 of 110 points" in page
    assert "not spread from 0 on" in page
    assert "np.quantile" not in page
