"""A small notebook that is examined in seconds: a function that calculates, one that writes, and a value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autograder.classroom.assignment import Assignment, load_assignment

SETUP = """import os
import tempfile
from pathlib import Path

class Later:
    pass

STEP, nothing = 2, None
os.chdir(tempfile.mkdtemp())

def double(x):
    return STEP * x
"""
TWICE = "def twice(x):\n    ### BEGIN SOLUTION\n    return double(x)\n    ### END SOLUTION\n"
TEST_TWICE = """assert twice(2) == 4
### BEGIN HIDDEN TESTS
STEP = 3
assert twice(7) == 21, "the step has changed, and twice has not"
STEP = 2
assert [twice(n) for n in range(5)] == [0, 2, 4, 6, 8]
assert type(twice(1)) is int
try:
    twice(None)
except TypeError:
    nothing = "as it should be"
assert nothing == "as it should be"
### END HIDDEN TESTS
"""
WRITE = "def write(path, text):\n    ### BEGIN SOLUTION\n    path.write_text(text)\n    ### END SOLUTION\n"
TEST_WRITE = """write(Path("a.txt"), "a")
assert Path("a.txt").read_text() == "a"
### BEGIN HIDDEN TESTS
with tempfile.TemporaryDirectory() as place:
    write(Path(place) / "b.txt", "b")
    assert os.listdir(place) == ["b.txt"]
### END HIDDEN TESTS
"""
VALUE = "### BEGIN SOLUTION\nanswer = 42\n### END SOLUTION\n"
TEST_VALUE = "assert answer == 42\n### BEGIN HIDDEN TESTS\nassert type(answer) is int\n### END HIDDEN TESTS\n"
REFERENCE = {"twice": TWICE, "write": WRITE, "value": VALUE}
POINTS = {"test-twice": 2, "test-write": 3, "test-value": 4}


def cell(name: str, source: str, points: float = 0) -> dict[str, Any]:
    """A cell of the notebook; one with points is a test, one with a name and none a solution."""
    about = {"grade": bool(points), "grade_id": name, "locked": bool(points), "solution": not points, "task": False}
    about |= {"schema_version": 3} | ({"points": points} if points else {})
    return {
        "cell_type": "code",
        "id": name or "setup",
        "metadata": {"nbgrader": about} if name else {},
        "source": source,
        "outputs": [],
        "execution_count": None,
    }


def mini(folder: Path, *before_the_last: str) -> Assignment:
    """The assignment; cells of the instructor's may be added before the last exercise."""
    cells = [
        cell("", SETUP),
        cell("twice", TWICE),
        cell("test-twice", TEST_TWICE, 2),
        cell("write", WRITE),
        cell("test-write", TEST_WRITE, 3),
        *(cell("", source) for source in before_the_last),
        cell("value", VALUE),
        cell("test-value", TEST_VALUE, 4),
    ]
    module = folder / "01-mini"
    module.mkdir()
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (module / "01-mini.ipynb").write_text(json.dumps(notebook))
    return Assignment(load_assignment("lab-01").lab, module)
