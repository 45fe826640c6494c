"""Proves the checks of a lab: every planted fault is graded, and found by just the checks that it names.

``faults.toml`` beside a lab's checks lists them: a name, why it is wrong, the checks that it must fail, and the edits
that make it from the reference. What those checks are needed for is blocked; everything else still passes.
"""

from __future__ import annotations

import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autograder.errors import GraderError, UsageError
from autograder.grading import grade
from autograder.lab import SOLUTIONS, Lab, load_lab
from autograder.report import Report, Verdict

MARKS = {Verdict.PASSED: "·", Verdict.FAILED: "✗", Verdict.BLOCKED: "-", Verdict.NOT_RUN: "o", Verdict.ERROR: "!"}


class Change(BaseModel):
    """One edit of the reference: ``old``, which stands once in ``file``, becomes ``new``; without it the whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    old: str | None = None
    new: str


class Fault(BaseModel):
    """A planted fault."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    why: str
    fails: frozenset[str]
    change: tuple[Change, ...]

    @contextmanager
    def submission(self, lab: Lab) -> Iterator[Path]:
        """A copy of the reference with the fault in it. Raises GraderError when an edit does not fit any more."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / self.name
            shutil.copytree(SOLUTIONS / lab.id, copy, ignore=shutil.ignore_patterns("models", "__pycache__"))
            for change in self.change:
                file = copy / change.file
                text = change.new
                if change.old is not None:
                    reference = file.read_text("utf-8")
                    if reference.count(change.old) != 1:
                        count = reference.count(change.old)
                        raise GraderError(f"{self.name}: `old` stands {count} times in {change.file}, not once.")
                    text = reference.replace(change.old, change.new)
                file.write_text(text, "utf-8")
            yield copy


def checks_folder(lab: Lab) -> Path:
    """Where a lab's checks are, and beside them its faults and the other right answers."""
    return Path(__file__).resolve().parents[1] / "checks" / lab.id.replace("-", "_")


def load_faults(lab: Lab) -> list[Fault]:
    """The planted faults of a lab. Raises GraderError when their file is not valid."""
    try:
        table = tomllib.loads((checks_folder(lab) / "faults.toml").read_text("utf-8"))
        return [Fault.model_validate(fault) for fault in table.pop("fault")]
    except (OSError, KeyError, ValueError, ValidationError) as error:
        raise GraderError(f"The planted faults of {lab.id} can't be read: {error}") from error


def alternatives(lab: Lab) -> list[Path]:
    """Right answers in other styles than the reference."""
    return sorted(path for path in (checks_folder(lab) / "alternatives").iterdir() if path.is_dir())


def verdicts(report: Report) -> dict[str, Verdict]:
    return {result.check: result.verdict for result in report.results}


def surprises(fault: Fault, report: Report) -> list[str]:
    """What a report says of a fault that it should not, a sentence each."""
    found = verdicts(report)
    needs = {result.check: set(result.blocked_by) for result in report.results}
    wrong = [
        f"{check} should fail, and is {found[check]}"
        for check in sorted(fault.fails)
        if found[check] is not Verdict.FAILED
    ]
    for check, verdict in found.items():
        if verdict is Verdict.BLOCKED:
            if not any(found[needed] in (Verdict.FAILED, Verdict.BLOCKED) for needed in needs[check]):
                wrong.append(f"{check} is blocked by nothing that failed")
        elif check not in fault.fails and verdict is not Verdict.PASSED:
            wrong.append(f"{check} should pass, and is {verdict}")
    return wrong


def prove(name: str, only: list[str], jobs: int, runtime: str = "auto") -> int:
    """Grades the faults and prints the table fault × check; 1 when one of them surprises."""
    lab = load_lab(name)
    faults = [fault for fault in load_faults(lab) if not only or fault.name in only]
    if missing := set(only) - {fault.name for fault in faults}:
        raise UsageError(f"There is no planted fault named {', '.join(sorted(missing))}.")
    width = max(len(fault.name) for fault in faults)
    header: list[str] = []
    surprised = 0

    def run(fault: Fault) -> Report:
        with fault.submission(lab) as submission:
            return grade(lab, submission, sandbox=False, runtime=runtime)

    with ThreadPoolExecutor(jobs) as executor:
        for fault, report in zip(faults, executor.map(run, faults), strict=True):
            if not header:
                header = [result.check.split("/")[1] for result in report.results]
                for number, check in enumerate(header, 1):
                    print(f"{number:>3} {check}")
                print(f"\n{'':{width}} " + "".join(f"{number:>3}" for number in range(1, len(header) + 1)))
            marks = "".join(f"{MARKS[result.verdict]:>3}" for result in report.results)
            wrong = surprises(fault, report)
            surprised += bool(wrong)
            print(f"{fault.name:<{width}} {marks}  {'; '.join(wrong) or 'as expected'}", flush=True)
            for result in report.results:
                if result.finding and wrong and result.check not in fault.fails:
                    print(f"    {result.check}: {result.finding.saw}")
    legend = "  ".join(f"{mark} {verdict.value}" for verdict, mark in MARKS.items())
    print(
        f"\n{legend}\n{len(faults) - surprised} of {len(faults)} faults were found by just the checks that they name."
    )
    return 1 if surprised else 0
