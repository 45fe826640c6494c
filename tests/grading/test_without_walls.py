"""A machine that offers no walls (macOS, a locked-down container): the same verdicts, and the report says so."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from autograder.lab import SOLUTIONS
from autograder.pods import Walls, enter, walls
from autograder.report import Verdict

REFERENCE = SOLUTIONS / "lab-01-serving"
WITHOUT = """
import sys
from autograder import cli
from autograder.pods import local
local.walls = lambda: local.NO_WALLS
sys.exit(cli.main(sys.argv[1:]))
"""


def grade_without(out: Path, submission: Path) -> int:
    """Grades on a machine of its own, as far as its network goes: the standard ports are the machine's there."""
    if not walls().namespaces:
        pytest.skip("no namespaces here to give it standard ports of its own")
    argv = [sys.executable, "-P", "-c", WITHOUT, "grade", "lab-01", str(submission), "--out", str(out)]
    process, lifeline = enter(argv, Walls(namespaces=True, user=None))
    try:
        return process.wait(300)
    finally:
        os.close(lifeline)


def test_verdicts_are_the_same_without_walls(tmp_path: Path, reference_verdicts: dict[str, Verdict]) -> None:
    assert grade_without(tmp_path / "out", REFERENCE) == 0
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert {
        test["extra_data"]["check"]: test["extra_data"]["verdict"] for test in results["tests"]
    } == reference_verdicts
    assert results["extra_data"]["isolation"][0].startswith("no walls")


def test_somebody_elses_work_is_refused_without_walls(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work/train.py").touch()
    assert grade_without(tmp_path / "out", tmp_path / "work") == 3
    assert not (tmp_path / "out/results.json").exists()
