"""Submissions made from the reference by small edits, and graders that are watched for what they leave behind."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from autograder.classroom.faults import verdicts
from autograder.grading import grade
from autograder.lab import ROOT, SOLUTIONS, Lab, load_lab
from autograder.report import Report, Verdict

Edit = Callable[[Path], object]
OTHERS: list[psutil.Process] = []


def edited(folder: Path, *edits: Edit, of: str = "lab-01-serving") -> Path:
    """A copy of a lab's reference in ``folder``, after some edits."""
    shutil.copytree(SOLUTIONS / of, folder, ignore=shutil.ignore_patterns("models", "__pycache__"))
    for edit in edits:
        edit(folder)
    return folder


def writes(name: str, text: str) -> Edit:
    """An edit that writes a whole file."""
    return lambda folder: (folder / name).write_text(text, "utf-8")


def prepends(name: str, text: str) -> Edit:
    return lambda folder: (folder / name).write_text(text + (folder / name).read_text("utf-8"), "utf-8")


@pytest.fixture(scope="session")
def lab() -> Lab:
    return load_lab("lab-01")


@pytest.fixture(scope="module", autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder for temporary files of every grader in here; empty whenever none is at work.

    These tests look at a grader's own processes, so it grades in the local runtime, with an engine beside it or not.
    Nothing of that may reach the tests of other folders in the same process, hence no wider scope than a module's.
    """
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        patch.setenv("TMPDIR", str(folder))
        patch.setenv("RUNTIME", "local")
        yield folder


@pytest.fixture(autouse=True)
def nothing_is_left_behind(temporary: Path) -> Iterator[None]:
    OTHERS[:] = psutil.Process().children(recursive=True)  # what other tests keep for theirs
    yield
    assert living() == []
    assert list(temporary.iterdir()) == []


def living() -> list[str]:
    """The command lines of all processes that this test has started and that still run."""
    found = []
    for process in set(psutil.Process().children(recursive=True)) - set(OTHERS):
        with contextlib.suppress(psutil.Error):
            found.append(" ".join(process.cmdline())[:200])
    return [words for words in found if words]


@dataclass(frozen=True)
class Graded:
    """A report, with short ways to ask about it; checks are called by their names within the lab."""

    report: Report

    @property
    def verdicts(self) -> dict[str, Verdict]:
        return {check.split("/")[1]: verdict for check, verdict in verdicts(self.report).items()}

    def named(self, verdict: Verdict) -> set[str]:
        return {check for check, found in self.verdicts.items() if found is verdict}

    @property
    def passed(self) -> set[str]:
        return self.named(Verdict.PASSED)

    @property
    def failed(self) -> set[str]:
        return self.named(Verdict.FAILED)

    @property
    def ungraded(self) -> set[str]:
        return self.named(Verdict.ERROR) | self.named(Verdict.NOT_RUN)

    def saw(self, check: str) -> str:
        """What the report says that a check saw."""
        (result,) = [result for result in self.report.results if result.check.split("/")[1] == check]
        return result.finding.saw if result.finding else ""


def graded(lab: Lab, submission: Path, **options: Any) -> Graded:
    return Graded(grade(lab, submission, **options))


@dataclass(frozen=True)
class Ended:
    """How a command ended, and the report that it wrote."""

    exit_code: int
    stdout: str
    stderr: str
    out: Path

    @property
    def results(self) -> dict[str, Any]:
        found = json.loads((self.out / "results.json").read_text("utf-8"))
        assert isinstance(found, dict)
        return found

    @property
    def verdicts(self) -> dict[str, Verdict]:
        tests = self.results["tests"]
        return {test["extra_data"]["check"]: Verdict(test["extra_data"]["verdict"]) for test in tests}


def command(*argv: str | Path) -> list[str]:
    return [sys.executable, "-m", "autograder", *map(str, argv)]


def run(*argv: str | Path, out: Path, before: tuple[str, ...] = (), **options: Any) -> Ended:
    """Runs a command of the course to its end; ``before`` goes in front of it."""
    arguments = [*before, *command(*argv)]
    ended = subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, check=False, timeout=600, **options)
    return Ended(ended.returncode, ended.stdout, ended.stderr, out)


Once = Callable[[str, Callable[[Path], None]], Path]


def graded_by_command(lab: Lab, once: Once) -> Ended:
    """A lab's reference, graded by the command that students use."""

    def fill(folder: Path) -> None:
        argv = ("grade", lab.short, SOLUTIONS / lab.id, "--runtime", "local", "--out", folder / "out")
        ended = run(*argv, out=folder / "out")
        (folder / "ended.json").write_text(json.dumps([ended.exit_code, ended.stdout, ended.stderr]))

    folder = once(f"reference-{lab.short}", fill)
    return Ended(*json.loads((folder / "ended.json").read_text()), folder / "out")


@pytest.fixture(scope="session")
def reference_run(lab: Lab, once: Once) -> Ended:
    return graded_by_command(lab, once)


@pytest.fixture(scope="session")
def reference_verdicts(reference_run: Ended) -> dict[str, Verdict]:
    return reference_run.verdicts
