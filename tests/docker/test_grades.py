"""The same grade everywhere: what the local runtime finds, Docker finds too.

A sample of the planted faults; ``FAULTS=all`` takes every one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from autograder.classroom.faults import Fault, alternatives, load_faults, surprises, verdicts
from autograder.grading import grade
from autograder.lab import ROOT, SOLUTIONS, load_lab

LAB = load_lab("lab-01")
FAULTS = load_faults(LAB)
SAMPLE = FAULTS if os.environ.get("FAULTS") == "all" else FAULTS[:: -(-len(FAULTS) // 6)]


def test_the_reference_gets_all_points_and_the_report_names_the_images(tmp_path: Path) -> None:
    argv = ["make", "lab-01", "RUNTIME=docker", f"SUBMISSION={SOLUTIONS / LAB.id}", f"OUT={tmp_path}"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "100 of 100 points" in done.stdout
    assert "runtime docker" in done.stdout
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "tfserving image" in page
    assert json.loads((tmp_path / "results.json").read_text())["score"] == 100


def test_the_starter_gets_none() -> None:
    assert grade(LAB, LAB.folder, runtime="docker").score == 0


@pytest.mark.parametrize("folder", alternatives(LAB)[:1], ids=lambda folder: str(folder.name))
def test_another_right_answer_gets_all_points(folder: Path) -> None:
    assert grade(LAB, folder, runtime="docker").score == 100


@pytest.mark.parametrize("fault", SAMPLE, ids=lambda fault: str(fault.name))
def test_a_planted_fault_has_the_same_verdicts_in_both_runtimes(fault: Fault) -> None:
    with fault.submission(LAB) as submission:
        there = grade(LAB, submission, runtime="docker")
        here = grade(LAB, submission, runtime="local", sandbox=False)
    assert surprises(fault, there) == []
    assert verdicts(there) == verdicts(here)
    assert there.seed == here.seed


def test_the_command_line_takes_nothing_for_granted() -> None:
    argv = [sys.executable, "-m", "autograder", "images", "list"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "tfserving" in done.stdout
