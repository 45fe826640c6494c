"""Lab 01's checks: the starter scores 0, right answers 100, and each planted fault is found by just its checks."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from autograder.checks.lab_01_serving.beginning import shuffled_digits
from autograder.classroom.faults import Fault, alternatives, load_faults, surprises, verdicts
from autograder.grading import grade
from autograder.lab import SOLUTIONS, Lab, load_lab
from autograder.report import Verdict

from .conftest import Ended, Once, graded

LAB = load_lab("lab-01")
REFERENCE = SOLUTIONS / LAB.id
FAULTS = load_faults(LAB)
SEED = 20_261
# Takes the place of the reference's train.py where the fault is elsewhere: it writes what that one writes for SEED.
HANDS_OVER = """
import shutil, sys
shutil.copytree("trained", sys.argv[sys.argv.index("--out") + 1])
"""


def test_the_reference_scores_100(reference_run: Ended) -> None:
    assert reference_run.exit_code == 0
    assert reference_run.results["score"] == 100
    assert reference_run.stderr == ""


def test_the_starter_scores_0() -> None:
    found = graded(LAB, LAB.folder)
    assert found.report.score == 0
    assert found.ungraded == set()


@pytest.mark.parametrize("folder", alternatives(LAB), ids=lambda folder: folder.name)
def test_a_right_answer_in_another_style_scores_100(folder: Path) -> None:
    found = graded(LAB, folder, sandbox=False)
    assert found.report.score == 100, {check: found.saw(check) for check in set(found.verdicts) - found.passed}


@pytest.fixture(scope="session")
def trained(once: Once) -> Path:
    """What the reference's train.py writes in a grade with SEED."""

    def fill(folder: Path) -> None:
        digits = shuffled_digits(SEED)
        np.savez(folder / "digits.npz", images=digits.train_images, labels=digits.train_labels)
        argv = (sys.executable, REFERENCE / "train.py", "--data", folder / "digits.npz", "--out", folder / "export/1")
        subprocess.run([*argv, "--seed", str(SEED % 1000)], check=True, capture_output=True)

    return once("trained", fill) / "export/1"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_found_by_just_its_checks(fault: Fault, trained: Path) -> None:
    """As `make prove-01` does, but the same training is not run again for faults that are not in it."""
    with fault.submission(LAB) as submission:
        if not any(change.file == "train.py" for change in fault.change):
            shutil.copytree(trained, submission / "trained")
            (submission / "train.py").write_text(HANDS_OVER)
        report = grade(LAB, submission, seed=SEED, sandbox=False)
    assert surprises(fault, report) == []


def test_every_check_has_a_planted_fault(reference_verdicts: dict[str, Verdict]) -> None:
    assert set().union(*(fault.fails for fault in FAULTS)) == set(reference_verdicts)


@pytest.mark.parametrize("time_of_grading", [2, 3, 4, 5])
def test_the_same_submission_gets_the_same_verdicts_again(
    time_of_grading: int, reference_verdicts: dict[str, Verdict]
) -> None:
    assert verdicts(grade(LAB, REFERENCE)) == reference_verdicts


def test_four_graders_side_by_side_give_the_same_verdicts(reference_verdicts: dict[str, Verdict]) -> None:
    with ThreadPoolExecutor(4) as executor:
        reports = list(executor.map(lambda _: grade(LAB, REFERENCE), range(4)))
    assert [verdicts(report) for report in reports] == [reference_verdicts] * 4


def test_the_seed_follows_from_what_was_handed_in(reference_run: Ended) -> None:
    again = grade(LAB, REFERENCE, visible=True)
    assert again.seed == reference_run.results["extra_data"]["seed"]
    assert not again.complete
    assert {result.check for result in again.results} < {
        test["extra_data"]["check"] for test in reference_run.results["tests"]
    }


def test_the_results_have_what_other_tools_rely_on(reference_run: Ended, lab: Lab) -> None:
    tests = reference_run.results["tests"]
    assert sum(test["max_score"] for test in tests) == 100
    assert {test["extra_data"]["skill"] for test in tests} == set(lab.skills) == set(range(1, 13))
    assert len({test["extra_data"]["check"] for test in tests}) == len(tests)
    for test in tests:
        assert {"name", "score", "max_score", "status", "output"} <= set(test)
        assert test["extra_data"]["check"].startswith("lab-01/")
        assert test["extra_data"]["verdict"] == "passed"
        assert (test["status"], test["score"]) == ("passed", test["max_score"])


def test_all_three_reports_are_written(reference_run: Ended) -> None:
    assert {path.name for path in reference_run.out.iterdir()} == {"report.html", "results.json", "junit.xml"}


def test_a_report_says_what_isolation_it_had(reference_run: Ended) -> None:
    assert reference_run.results["extra_data"]["isolation"]


def test_help_comes_at_once() -> None:
    def seconds() -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "autograder", "--help"], check=True, capture_output=True)
        return time.perf_counter() - began

    assert min(seconds() for _ in range(5)) < 0.3


@pytest.mark.parametrize("module", ["autograder.cli", "autograder.grading", "autograder.worker", "autograder.checks"])
def test_the_grader_never_imports_tensorflow(module: str) -> None:
    code = (
        "import importlib, pkgutil, sys\n"
        "found = importlib.import_module(sys.argv[1])\n"
        "if hasattr(found, '__path__'):\n"
        "    for _, name, package in pkgutil.iter_modules([p + '/lab_01_serving' for p in found.__path__]):\n"
        "        if not package: importlib.import_module(f'autograder.checks.lab_01_serving.{name}')\n"
        "sys.exit(sorted({'tensorflow', 'keras', 'sklearn', 'tensorflow_serving'} & set(sys.modules)) or 0)"
    )
    ended = subprocess.run([sys.executable, "-P", "-c", code, module], check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
