"""An examination: the student's code and the tests never meet, and honest work gets what it earns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autograder.classroom.assignment import Assignment, assignments
from autograder.classroom.exam import plain
from autograder.classroom.exam.hold import examine_notebook
from autograder.classroom.exam.invigilator import _finding
from autograder.report.model import Verdict

SHAPES = {"test-shapes": Verdict.PASSED}


def solutions(assignment: Assignment) -> dict[str, str]:
    """The reference's own cells."""
    return {
        cell["metadata"]["nbgrader"]["grade_id"]: cell["source"]
        for cell in assignment.cells
        if cell["metadata"].get("nbgrader", {}).get("solution")
    }


@pytest.mark.timeout(600)
@pytest.mark.parametrize("which", assignments(), ids=lambda assignment: assignment.name)
def test_the_reference_earns_every_point_of_every_notebook(which: Assignment, walled: None) -> None:
    log: list[str] = []
    marks = examine_notebook(which, solutions(which), log=log)
    assert [(mark.test, mark.verdict, mark.saw) for mark in marks] == [
        (exercise.test, Verdict.PASSED, "") for exercise in which.exercises
    ], log
    assert sum(mark.score for mark in marks) == which.points - 100


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        1,
        -0.0,
        float("inf"),
        "é\n",
        b"\0\xff",
        [1, [2.5, None]],
        (1, ("a",)),
        {"a": 1, 2: (3,)},
        {1, 2},
        frozenset({"x"}),
        Path("/tmp/x"),
    ],
    ids=repr,
)
def test_plain_values_cross_in_their_own_types(value: object) -> None:
    crossed = plain.loads(plain.dumps(value))
    assert crossed == value
    assert type(crossed) is type(value)


def test_arrays_cross_with_their_type_and_shape() -> None:
    import numpy as np

    for array in (np.arange(6, dtype=np.int16).reshape(2, 3), np.array([[np.nan, np.inf]]), np.array(["a", "bc"])):
        crossed = plain.loads(plain.dumps(array))
        assert crossed.dtype == array.dtype
        np.testing.assert_array_equal(crossed, array)
    assert type(plain.loads(plain.dumps(np.float32(0.5)))) is np.float32


class Equal(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


@pytest.mark.parametrize("value", [Equal(3), [Equal(3)], {"a": Equal(1)}, object(), print, int], ids=str)
def test_what_is_not_plain_does_not_cross(value: object) -> None:
    with pytest.raises(plain.NotPlain):
        plain.dumps(value)


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b'{"~": "eval", "v": "1"}',
        b'{"~": "float", "v": "1e9"}',
        b'{"~": "array", "dtype": "O", "shape": [1], "v": [1]}',
        b'{"~": "array", "dtype": "<U9999", "shape": [9], "v": ["a", "b"]}',
        b'{"~": "array", "dtype": "<i8", "shape": [2, 9999999], "v": [1]}',
        b'{"~": "dict", "v": [[[1], 2]]}',
        b"[" * 100_000,
        b"not json",
    ],
)
def test_what_a_desk_makes_up_is_refused(line: bytes) -> None:
    with pytest.raises(plain.NotPlain):
        plain.loads(line)


CELL = """assert f(1) == 2
### BEGIN HIDDEN TESTS
secret = f("canary")
assert secret == 3
assert secret == 3, "three comes out"
assert secret == 3, [secret]
### END HIDDEN TESTS
assert f(2) == 3, "wrong for 2"
"""


def failing(line: int) -> str:
    """What a student reads when the given line of the cell does not hold."""
    namespace: dict[str, object] = {"f": lambda _: 0}
    lines = [text if number == line else "pass" for number, text in enumerate(CELL.splitlines(), 1)]
    if line in (4, 5, 6):
        namespace["secret"] = 0
    with pytest.raises(AssertionError) as caught:
        exec(compile("\n".join(lines), "cell", "exec"), namespace)
    return _finding(caught.value, CELL, namespace)


def test_a_finding_shows_visible_lines_and_of_hidden_ones_only_their_message() -> None:
    assert "`assert f(1) == 2`" in failing(1)
    assert "wrong for 2" in failing(8)
    for line in (4, 5, 6):
        assert "secret" not in failing(line)
        assert "hidden test" in failing(line)
    assert "three comes out" in failing(5)
    assert "[0]" not in failing(6)


def test_a_notebook_of_another_kind_is_never_believed(assignment: Assignment) -> None:
    """What the paper says an exercise is worth stands in our notebook; a mark for something else is not kept."""
    assert {exercise.test: exercise.points for exercise in assignment.exercises} == {
        "test-read-digits": 2,
        "test-shapes": 2,
        "test-put-in-place": 3,
        "test-mean-latency": 3,
    }
    assert assignment.points == 110
    assert json.dumps(assignment.cells)
