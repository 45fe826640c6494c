"""Every lab's checks: the starter scores 0, right answers 100, and each planted fault is found by just its checks."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from autograder.checks.lab_01_serving.beginning import shuffled_digits
from autograder.classroom.faults import Fault, alternatives, load_faults, surprises, verdicts
from autograder.grading import grade
from autograder.lab import SOLUTIONS, Lab, load_lab
from autograder.report import Verdict

from .conftest import Ended, Once, graded, graded_by_command

LABS = [load_lab("lab-01"), load_lab("lab-02")]
FAULTS = [pytest.param(lab, fault, id=f"{lab.short}-{fault.name}") for lab in LABS for fault in load_faults(lab)]
ALTERNATIVES = [pytest.param(lab, path, id=f"{lab.short}-{path.name}") for lab in LABS for path in alternatives(lab)]
SEED = 20_261
# Takes the place of lab 01's train.py where a fault is elsewhere: it writes what that one writes for SEED.
HANDS_OVER = """
import shutil, sys
shutil.copytree("trained", sys.argv[sys.argv.index("--out") + 1])
"""


@pytest.fixture(params=LABS, ids=lambda lab: str(lab.short))
def lab(request: pytest.FixtureRequest) -> Lab:
    found: Lab = request.param
    return found


@pytest.fixture
def reference_run(lab: Lab, once: Once) -> Ended:
    return graded_by_command(lab, once)


@pytest.fixture
def reference_verdicts(reference_run: Ended) -> dict[str, Verdict]:
    return reference_run.verdicts


def test_the_reference_scores_100(reference_run: Ended) -> None:
    assert reference_run.exit_code == 0
    assert reference_run.results["score"] == 100
    assert reference_run.stderr == ""


def test_the_starter_scores_0(lab: Lab) -> None:
    found = graded(lab, lab.folder)
    assert found.report.score == 0
    assert found.ungraded == set()


@pytest.mark.parametrize(("lab", "folder"), ALTERNATIVES)
def test_a_right_answer_in_another_style_scores_100(lab: Lab, folder: Path) -> None:
    found = graded(lab, folder, sandbox=False)
    assert found.report.score == 100, {check: found.saw(check) for check in set(found.verdicts) - found.passed}


def trained(once: Once) -> Path:
    """What lab 01's reference writes in a grade with SEED."""
    reference = SOLUTIONS / LABS[0].id

    def fill(folder: Path) -> None:
        digits = shuffled_digits(SEED)
        np.savez(folder / "digits.npz", images=digits.train_images, labels=digits.train_labels)
        argv = (sys.executable, reference / "train.py", "--data", folder / "digits.npz", "--out", folder / "export/1")
        subprocess.run([*argv, "--seed", str(SEED % 1000)], check=True, capture_output=True)

    return once("trained", fill) / "export/1"


@pytest.mark.parametrize(("lab", "fault"), FAULTS)
def test_a_planted_fault_is_found_by_just_its_checks(lab: Lab, fault: Fault, once: Once) -> None:
    """As `make prove-01` does, but the same training is not run again for faults that are not in it."""
    with fault.submission(lab) as submission:
        seed = None
        if (submission / "train.py").exists() and not any(change.file == "train.py" for change in fault.change):
            shutil.copytree(trained(once), submission / "trained")
            (submission / "train.py").write_text(HANDS_OVER)
            seed = SEED
        report = grade(lab, submission, seed=seed, sandbox=False)
    assert surprises(fault, report) == []


def test_every_check_has_a_planted_fault(lab: Lab, reference_verdicts: dict[str, Verdict]) -> None:
    assert set().union(*(fault.fails for fault in load_faults(lab))) == set(reference_verdicts)


@pytest.mark.parametrize("time_of_grading", [2, 3, 4, 5])
def test_the_same_submission_gets_the_same_verdicts_again(
    lab: Lab, time_of_grading: int, reference_verdicts: dict[str, Verdict]
) -> None:
    assert verdicts(grade(lab, SOLUTIONS / lab.id)) == reference_verdicts


def test_four_graders_side_by_side_give_the_same_verdicts(lab: Lab, reference_verdicts: dict[str, Verdict]) -> None:
    with ThreadPoolExecutor(4) as executor:
        reports = list(executor.map(lambda _: grade(lab, SOLUTIONS / lab.id), range(4)))
    assert [verdicts(report) for report in reports] == [reference_verdicts] * 4


def test_the_seed_follows_from_what_was_handed_in(lab: Lab, reference_run: Ended) -> None:
    again = grade(lab, SOLUTIONS / lab.id, visible=True)
    assert again.seed == reference_run.results["extra_data"]["seed"]
    assert not again.complete
    assert {result.check for result in again.results} < set(reference_run.verdicts)


def test_the_results_have_what_other_tools_rely_on(lab: Lab, reference_run: Ended) -> None:
    tests = reference_run.results["tests"]
    assert sum(test["max_score"] for test in tests) == 100
    assert {test["extra_data"]["skill"] for test in tests} == set(lab.skills) == set(range(1, 13))
    assert len({test["extra_data"]["check"] for test in tests}) == len(tests)
    for test in tests:
        assert {"name", "score", "max_score", "status", "output"} <= set(test)
        assert test["extra_data"]["check"].startswith(f"{lab.short}/")
        assert test["extra_data"]["verdict"] == "passed"
        assert (test["status"], test["score"]) == ("passed", test["max_score"])
