"""Starters: made from the references, without a line of their solutions, and current."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from autograder.classroom.starters import contents, make_starters, starter, write_starter
from autograder.errors import GraderError
from autograder.lab import LABS, SOLUTIONS

REFERENCES = sorted(SOLUTIONS.glob("lab-*"))


def test_labs_are_current() -> None:
    assert make_starters(check=True) == 0, "run `make labs`"


def test_a_solution_becomes_a_gap_that_says_so() -> None:
    text = "def f():\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION\n"
    made = starter(text, "f.py")
    assert "return 1" not in made
    assert "    # YOUR CODE HERE\n    raise NotImplementedError(" in made
    ast.parse(made)


def test_a_silent_gap_leaves_what_is_around_it_working() -> None:
    text = "class A:\n    'It.'\n\n    ### BEGIN SOLUTION (silent)\n    x = 1\n    ### END SOLUTION\n"
    assert starter(text, "f.py") == "class A:\n    'It.'\n\n    # YOUR CODE HERE\n"


def test_in_other_files_a_gap_is_a_comment() -> None:
    assert starter("### BEGIN SOLUTION\nx\n### END SOLUTION\n", "serve.sh") == "# YOUR CODE HERE\n"


@pytest.mark.parametrize(
    "text",
    [
        "### BEGIN SOLUTION\n",
        "### END SOLUTION\n",
        "### BEGIN SOLUTION\n### BEGIN SOLUTION\n### END SOLUTION\n",
    ],
)
def test_a_marker_without_its_partner_is_an_error(text: str) -> None:
    with pytest.raises(GraderError):
        starter(text, "f.py")


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda path: path.name)
def test_no_line_of_a_solution_is_in_its_starter(reference: Path, tmp_path: Path) -> None:
    write_starter(reference, tmp_path)
    for name, made in contents(tmp_path).items():
        solved, inside = [], False
        for line in (reference / name).read_text("utf-8").splitlines():
            if "### BEGIN SOLUTION" in line or "### END SOLUTION" in line:
                inside = "BEGIN" in line
            elif inside and len(line.strip()) > 30:
                solved.append(line)
        assert not [line for line in solved if line in made.decode()], name


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda path: path.name)
def test_a_starter_has_every_file_of_its_lab_and_scripts_stay_scripts(reference: Path) -> None:
    lab = LABS / reference.name
    assert set(contents(lab)) == set(contents(reference))
    for name in contents(reference):
        assert (lab / name).stat().st_mode & 0o111 == (reference / name).stat().st_mode & 0o111


def test_what_a_students_own_runs_leave_is_not_part_of_a_starter(tmp_path: Path) -> None:
    (tmp_path / "models/digits").mkdir(parents=True)
    (tmp_path / "models/digits/x").touch()
    (tmp_path / "train.py").touch()
    assert set(contents(tmp_path)) == {"train.py"}
