"""An examination: the student's code and the tests never meet, and honest work gets what it earns."""

from __future__ import annotations

from pathlib import Path

import pytest

from autograder.classroom.assignment import Assignment, assignments
from autograder.classroom.exam import plain
from autograder.classroom.exam.calls import Opaque, StudentError
from autograder.classroom.exam.hold import examine_notebook
from autograder.classroom.exam.invigilator import _finding
from autograder.lab import ROOT
from autograder.report.model import Verdict

from . import demo
from .mini import POINTS, REFERENCE, mini


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


NOT_PLAIN = {"number": Equal(3), "list": [Equal(3)], "dict": {"a": Equal(1)}, "object": object(), "function": print}


@pytest.mark.parametrize("value", [*NOT_PLAIN.values(), int], ids=[*NOT_PLAIN, "class"])
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


# What a student's process does to itself, in a cell of its own and in front of every exercise; nothing of it earns a
# point, and what is right stays right.
ATTACKS = {
    "an object that is equal to everything": (
        demo.ALWAYS + "def twice(x): return Always()\n",
        demo.ALWAYS + "def write(path, text): return Always()\n",
        demo.ALWAYS + "answer = Always()\n",
    ),
    "patches": (
        demo.PATCH + "def twice(x): return 4\n",
        demo.PATCH + "def write(path, text): return text\n",
        demo.PATCH + "answer = None\n",
    ),
    "the end of the process": ("import os\nos._exit(0)\n",) * 3,
    "the end of the program": ("raise SystemExit(0)\n",) * 3,
    "a signal to everything": ("import os, signal\nos.kill(-1, signal.SIGKILL)\n",) * 3,
    "an answer to the invigilator by hand": (
        "import gc, socket\n"
        "for one in gc.get_objects():\n"
        "    if isinstance(one, socket.socket):\n"
        '        one.sendall(b\'{"value": 4, "said": ""}\\n\' * 50)\n'
        "def twice(x): return 4\n",
        "def write(path, text): return 1\n",
        "answer = 41\n",
    ),
    "another answer than JSON": (
        "import sys\nsys.modules['__main__'].dumps = lambda value: b'cposix\\nsystem\\n'\n",
        "def write(path, text): raise BaseException\n",
        "answer = object()\n",
    ),
    "no Python": ("def twice(x:\n", "\0", "]"),
    "values that are too deep and too long": (
        "def twice(x):\n    y = []\n    for _ in range(10**5): y = [y]\n    return y\n",
        "",
        "answer = 10 ** 9999",
    ),
    "a link in place of a file": (
        "",
        "def write(path, text):\n    path.symlink_to('/etc/hostname')\n",
        "",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_point_is_given_for(attack: str, tmp_path: Path, walled: None) -> None:
    handed_in = dict(zip(("twice", "write", "value"), ATTACKS[attack], strict=True))
    marks = examine_notebook(mini(tmp_path), handed_in, (demo.PATCH,))
    assert {mark.test: mark.verdict for mark in marks} == dict.fromkeys(POINTS, Verdict.FAILED)
    assert all(mark.saw for mark in marks)


def test_what_goes_wrong_in_one_exercise_costs_only_that(tmp_path: Path, walled: None) -> None:
    handed_in = {**REFERENCE, "write": "import os\nos._exit(1)\n"}
    marks = {mark.test: mark for mark in examine_notebook(mini(tmp_path), handed_in)}
    assert {name: mark.score for name, mark in marks.items()} == {"test-twice": 2, "test-write": 0, "test-value": 4}
    assert "ended the process" in marks["test-write"].saw


def test_honest_work_in_any_style_is_right(tmp_path: Path, walled: None) -> None:
    """With a helper in a cell of its own, output on standard error, a magic line, another name for a parameter."""
    helper = "import sys\nfrom functools import partial\nTEN = range(10)\nnever = 1 / 0\ndef loud(text):\n"
    helper += "    print(text, TEN, file=sys.stderr)\n1 / 0\n"
    handed_in = {
        "twice": "%matplotlib inline\ndef twice(number):\n    loud('a warning')\n    return double(x=number)\n",
        "write": "def write(path, text):\n    with open(path, 'w') as f:\n        f.write(text)\n    return f\n",
        "value": "import warnings\nwarnings.warn('careful')\nanswer = sum([40, 2])\n",
    }
    marks = examine_notebook(mini(tmp_path), handed_in, (helper,))
    assert {mark.test: mark.saw for mark in marks} == dict.fromkeys(POINTS, "")
    assert {mark.test: mark.score for mark in marks} == POINTS


def test_an_object_that_can_not_cross_passes_no_look() -> None:
    one = Opaque("a value of the type x.Always")
    for look in (
        lambda: one == 1,
        lambda: one == 1,
        lambda: one != 1,
        lambda: bool(one),
        lambda: not one,
        lambda: one > 0,
        lambda: abs(one - 1) < 1,
        lambda: one in [1, 2],
        lambda: 1 in one,
        lambda: len(one),
        lambda: list(one),
        lambda: one.anything,
        lambda: {one},
    ):
        with pytest.raises(StudentError, match="Always"):
            look()
    assert not isinstance(one, int)


def test_a_fault_of_ours_is_an_error_and_no_fail(tmp_path: Path, walled: None) -> None:
    log: list[str] = []
    marks = examine_notebook(mini(tmp_path, "raise RuntimeError('the server is gone')"), REFERENCE, log=log)
    assert [mark.verdict for mark in marks] == [Verdict.PASSED, Verdict.PASSED, Verdict.ERROR]
    assert sum("the server is gone" in entry for entry in log) == 2  # it was tried twice


def test_a_cell_that_shows_the_students_work_may_fail(tmp_path: Path, walled: None) -> None:
    handed_in = {**REFERENCE, "twice": "def twice(x): raise ValueError(x)\n"}
    marks = examine_notebook(mini(tmp_path, "print(twice(3))"), handed_in)
    assert [mark.verdict for mark in marks] == [Verdict.FAILED, Verdict.PASSED, Verdict.PASSED]


def test_what_it_starts_is_nobody_elses(tmp_path: Path, walled: None) -> None:
    """`make up-01` beside it is not in its way, and it leaves no folder in the course."""
    look = "from autograder import playground\nassert playground.ROOT not in playground.PODS.parents, playground.PODS"
    log: list[str] = []
    marks = examine_notebook(mini(tmp_path, look), REFERENCE, log=log)
    assert {mark.test: mark.score for mark in marks} == POINTS, log


def test_it_stays_behind_its_walls_whatever_runtime_labs_have(
    tmp_path: Path, walled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME", "docker")
    log: list[str] = []
    marks = examine_notebook(
        mini(tmp_path, "from autograder.pods import wanted\nassert wanted() == 'local'"), REFERENCE, log=log
    )
    assert {mark.test: mark.score for mark in marks} == POINTS, log


def test_a_student_sees_neither_the_course_nor_a_home(tmp_path: Path, walled: None) -> None:
    look = (
        "import os\n"
        f"def twice(x): raise ValueError([os.path.exists(p) for p in ({str(ROOT / 'modules')!r}, {str(tmp_path)!r},"
        " '/etc/shadow', '/home')] + [os.getuid() == 0, sorted(os.environ)])\n"
    )
    (mark, *_) = examine_notebook(mini(tmp_path), {"twice": look})
    assert "[False, False, False, False, False," in mark.saw
    assert "HOME" in mark.saw
    assert "SECRET" not in mark.saw


def test_what_an_exercise_is_worth_is_read_from_our_notebook(assignment: Assignment) -> None:
    assert {exercise.test: exercise.points for exercise in assignment.exercises} == {
        "test-read-digits": 2,
        "test-shapes": 2,
        "test-put-in-place": 3,
        "test-mean-latency": 3,
    }
    assert assignment.points == 110
