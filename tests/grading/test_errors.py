"""Infrastructure that fails in the middle of a grade: the verdict is ``error``, never a pass and never a fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from autograder import grading
from autograder.errors import GraderError
from autograder.lab import SOLUTIONS, Lab
from autograder.pods import local
from autograder.report import Result, Verdict

from .conftest import graded

REFERENCE = SOLUTIONS / "lab-01-serving"


class Watcher:
    """Follows a grade, and does something when the first verdict of each attempt comes in."""

    def __init__(self, act: Callable[[int], object]) -> None:
        self._act = act
        self._acted = 0
        self.attempts = 0

    def planned(self, total: int) -> None:
        self.attempts += 1

    def started(self, check_id: str, title: str) -> None: ...

    def finished(self, result: Result) -> None:
        if self._acted < self.attempts:
            self._acted = self.attempts
            self._act(self.attempts)


def kill_the_worker() -> None:
    for process in psutil.Process().children(recursive=True):
        if "autograder.worker" in process.cmdline() and not any("sandbox.py" in word for word in process.cmdline()):
            process.kill()
            return
    raise AssertionError("there is no worker")


def test_a_worker_that_dies_leaves_errors_and_what_it_had_found(lab: Lab) -> None:
    watcher = Watcher(lambda _: kill_the_worker())
    found = graded(lab, REFERENCE, progress=watcher)
    assert watcher.attempts == 2
    assert found.passed
    assert found.verdicts.keys() - found.passed == found.named(Verdict.ERROR)
    assert not found.report.graded


def test_errors_are_tried_once_more(lab: Lab) -> None:
    log: list[str] = []
    watcher = Watcher(lambda attempt: kill_the_worker() if attempt == 1 else None)
    found = graded(lab, REFERENCE, progress=watcher, visible=True, log=log)
    assert watcher.attempts == 2
    assert found.named(Verdict.ERROR) == set()
    assert found.report.score == found.report.max_score
    assert log == ["the worker did not come to its end"]


def test_a_deadline_that_passes_is_an_error(lab: Lab) -> None:
    found = graded(lab.model_copy(update={"deadline": 3.0}), REFERENCE)
    assert found.named(Verdict.ERROR)
    assert not found.failed


def test_a_lab_without_checks_is_no_grade(lab: Lab) -> None:
    log: list[str] = []
    with pytest.raises(GraderError, match="No check could be run"):
        graded(lab.model_copy(update={"id": "lab-09-missing"}), REFERENCE, log=log)
    assert any("lab_09_missing" in entry for entry in log)


def test_somebody_elses_work_is_not_run_without_walls(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "walls", lambda: local.NO_WALLS)
    (tmp_path / "train.py").write_text("")
    with pytest.raises(grading.MachineError, match="no sandbox"):
        graded(lab, tmp_path)
