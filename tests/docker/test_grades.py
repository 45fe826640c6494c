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
from autograder.lab import ROOT, SOLUTIONS, Lab, load_lab

LABS = [load_lab("lab-01"), load_lab("lab-02")]
STEP = 1 if os.environ.get("FAULTS") == "all" else 20
SAMPLE = [
    pytest.param(lab, fault, id=f"{lab.short}-{fault.name}") for lab in LABS for fault in load_faults(lab)[::STEP]
]


@pytest.fixture(params=LABS, ids=lambda lab: str(lab.short))
def lab(request: pytest.FixtureRequest) -> Lab:
    found: Lab = request.param
    return found


def test_the_reference_gets_all_points_and_the_report_names_the_images(lab: Lab, tmp_path: Path) -> None:
    argv = ["make", lab.short, "RUNTIME=docker", f"SUBMISSION={SOLUTIONS / lab.id}", f"OUT={tmp_path}"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "100 of 100 points" in done.stdout
    assert "runtime docker" in done.stdout
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "tfserving image" in page
    assert json.loads((tmp_path / "results.json").read_text())["score"] == 100


def test_the_starter_gets_none(lab: Lab) -> None:
    report = grade(lab, lab.folder, runtime="docker")
    assert report.score == 0
    assert report.graded


def test_another_right_answer_gets_all_points(lab: Lab) -> None:
    assert grade(lab, alternatives(lab)[0], runtime="docker").score == 100


@pytest.mark.parametrize(("lab", "fault"), SAMPLE)
def test_a_planted_fault_has_the_same_verdicts_in_both_runtimes(lab: Lab, fault: Fault) -> None:
    with fault.submission(lab) as submission:
        there = grade(lab, submission, runtime="docker")
        here = grade(lab, submission, runtime="local", sandbox=False)
    assert surprises(fault, there) == []
    assert verdicts(there) == verdicts(here)
    assert there.seed == here.seed


def test_the_command_line_takes_nothing_for_granted() -> None:
    argv = [sys.executable, "-m", "autograder", "images", "list"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "tfserving" in done.stdout
