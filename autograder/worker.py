"""The process inside a pod that runs the checks of one submission.

``grading`` starts it behind the pod's outer walls and reads its events, one JSON object a line, from a pipe. pytest
collects and runs the checks, with the plugin below and nothing else: no configuration, no cache, no plugin that
happens to be installed, and never a student's folder on ``sys.path``.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from autograder.checking import Check, EvidenceBox
from autograder.errors import CheckFailed, CourseError, NotRun
from autograder.lab import Lab
from autograder.pods import LocalPod, Pod, Walls
from autograder.report import Finding, Result, Verdict
from autograder.submission import Intake, fingerprint, take_in


class Job(BaseModel):
    """What to grade: everything that the worker is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lab: Lab
    submission: Path
    folder: Path
    namespaces: bool
    user: int | None
    seed: int | None
    visible: bool
    events: int
    only: tuple[str, ...] = ()


class Event(BaseModel):
    """One line from the worker: exactly one of its fields is set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checks: tuple[Result, ...] | None = None  # all checks that will run, before they do
    started: str | None = None
    result: Result | None = None
    note: str | None = None
    seed: int | None = None
    version: tuple[str, str] | None = None
    trace: str | None = None  # for the grader's own log; never shown to a student
    done: bool | None = None


class Wire:
    """Writes events to the pipe."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._stream = os.fdopen(descriptor, "w", encoding="utf-8")

    def send(self, **fields: Any) -> None:
        self._stream.write(Event(**fields).model_dump_json(exclude_none=True) + "\n")
        self._stream.flush()


BOX = pytest.StashKey[EvidenceBox]()


class Checks:
    """The pytest plugin: makes checks test items, orders them, blocks them, and turns their ends into verdicts."""

    def __init__(self, job: Job, pod: Pod, intake: Intake, wire: Wire, background: frozenset[str]) -> None:
        self.job, self.wire, self._background = job, wire, background
        self._pod, self._intake = pod, intake
        self._verdicts: dict[str, Verdict] = {}
        self._began = 0.0
        self.collection_errors: list[str] = []

    # -- what a check can ask for ------------------------------------------------------------------------------

    @pytest.fixture(scope="session")
    def pod(self) -> Pod:
        return self._pod

    @pytest.fixture(scope="session")
    def intake(self) -> Intake:
        """The names of the submission's files."""
        return self._intake

    @pytest.fixture(scope="session")
    def seed(self) -> int:
        """What models, inputs, numbers and names of this run are made from."""
        assert self.job.seed is not None
        return self.job.seed

    @pytest.fixture(scope="session")
    def versions(self) -> Any:
        """A function ``versions(service, text)`` that tells the report what this run is on."""
        return lambda service, text: self.wire.send(version=(service, text))

    @pytest.fixture
    def evidence(self, request: pytest.FixtureRequest) -> EvidenceBox:
        return request.node.stash[BOX]

    # -- collection --------------------------------------------------------------------------------------------

    def pytest_pycollect_makeitem(self, collector: pytest.Module, name: str, obj: object) -> Any:
        if isinstance(getattr(obj, "__check__", None), Check) and obj.__module__ == collector.obj.__name__:
            return pytest.Function.from_parent(collector, name=name)
        return []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.collection_errors.append(str(report.longrepr))

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """In the lab's order, but what waits for something slow comes last: it goes on in the background meanwhile."""
        if self.job.visible:
            items[:] = [item for item in items if _check(item).visible]
        if self.job.only:
            items[:] = [item for item in items if self._id(_check(item).name) in self.job.only]
        items.sort(key=lambda item: (_check(item).skill, not _check(item).visible))
        known = {_check(item).name for item in items}
        self.wire.send(checks=[self._result(_check(item), Verdict.NOT_RUN) for item in items])

        def when(item: pytest.Item) -> tuple[bool, bool]:
            return _check(item).last, not self._background.isdisjoint(getattr(item, "fixturenames", ()))

        done: set[str] = set()
        order: list[pytest.Item] = []
        remaining = sorted(items, key=when)
        while remaining:
            ready = next(
                (item for item in remaining if all(n in done or n not in known for n in _check(item).needs)), None
            )
            if ready is None:
                raise pytest.UsageError(f"Checks need each other in a circle: {[i.name for i in remaining]}")
            remaining.remove(ready)
            done.add(_check(ready).name)
            order.append(ready)
        items[:] = order

    # -- running -----------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self) -> None:
        self._began = time.monotonic()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        item.stash[BOX] = EvidenceBox()
        self.wire.send(started=self._id(_check(item).name))
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        needed = {name: self._verdicts[name] for name in _check(item).needs if name in self._verdicts}
        missing = {name: verdict for name, verdict in needed.items() if verdict is not Verdict.PASSED}
        if missing:
            raise Blocked(missing)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if call.when == "call" or (call.when == "setup" and call.excinfo is not None):
            result = self._judge(item, call)
            self._verdicts[_check(item).name] = result.verdict
            self.wire.send(result=result)
            if result.verdict is Verdict.ERROR and call.excinfo is not None:
                self.wire.send(trace=f"{result.check}\n{call.excinfo.getrepr(style='long')}")
        elif call.when == "teardown" and call.excinfo is not None:
            self.wire.send(trace=f"teardown of {item.name}\n{call.excinfo.getrepr(style='long')}")
        return report

    def _judge(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Result:
        check = _check(item)
        seconds = time.monotonic() - self._began
        evidence = tuple(item.stash[BOX].items)
        error = call.excinfo.value if call.excinfo else None
        match error:
            case None:
                verdict, finding, blocked_by = Verdict.PASSED, None, ()
            case Blocked(missing=missing):
                verdict = max(missing.values(), key=_WEIGHT.index)
                verdict = Verdict.BLOCKED if verdict is Verdict.FAILED else verdict
                finding, blocked_by = None, tuple(self._id(name) for name in missing)
            case CheckFailed():
                verdict, blocked_by = Verdict.FAILED, ()
                finding = Finding(saw=error.saw, expected=error.expected, hint=error.hint or check.hint)
            case NotRun():
                verdict, blocked_by = Verdict.NOT_RUN, ()
                finding = Finding(saw=error.saw, expected=error.expected, hint=error.hint)
            case AssertionError():
                verdict, blocked_by = Verdict.FAILED, ()
                finding = Finding(saw=str(error).split("\n\n")[0][:4000] or check.title, hint=check.hint)
            case _:
                verdict, blocked_by = Verdict.ERROR, ()
                said = error.saw if isinstance(error, CourseError) else f"{type(error).__name__}: {error}"
                finding = Finding(
                    saw=f"The grader failed, not your work: {said[:1000]}",
                    hint="Run it again. If it happens again, tell your instructor.",
                )
        return Result(
            check=self._id(check.name),
            skill=check.skill,
            title=check.title,
            points=check.points,
            verdict=verdict,
            seconds=seconds,
            finding=finding,
            blocked_by=blocked_by,
            evidence=evidence,
            visible=check.visible,
        )

    def _result(self, check: Check, verdict: Verdict) -> Result:
        return Result(
            check=self._id(check.name),
            skill=check.skill,
            title=check.title,
            points=check.points,
            verdict=verdict,
            visible=check.visible,
        )

    def _id(self, name: str) -> str:
        return f"{self.job.lab.short}/{name}"


# From what blocks least to what blocks most: an error of ours upstream must never look like the student's.
_WEIGHT = [Verdict.PASSED, Verdict.FAILED, Verdict.BLOCKED, Verdict.NOT_RUN, Verdict.ERROR]


class Blocked(Exception):
    """A check that this one needs did not pass."""

    __match_args__ = ("missing",)

    def __init__(self, missing: dict[str, Verdict]) -> None:
        super().__init__(", ".join(missing))
        self.missing = missing


def _check(item: pytest.Item) -> Check:
    return item.obj.__check__  # type: ignore[attr-defined, no-any-return]


def main() -> int:
    """Grades one submission; the exit code only says whether the worker itself got to its end."""
    job = Job.model_validate_json(sys.argv[1])
    wire = Wire(job.events)
    try:
        with LocalPod(job.folder, Walls(job.namespaces, job.user)) as pod:
            intake = take_in(job.submission, pod.outside("/submission"), job.lab.files)
            pod.grant("/submission")
            for note in intake.notes:
                wire.send(note=note)
            if job.seed is None:
                handed_in = fingerprint(pod.outside("/submission"), job.lab.files)
                job = job.model_copy(update={"seed": int(handed_in[:8], 16)})
            wire.send(seed=job.seed)
            run_checks(job, pod, intake, wire)
        wire.send(done=True)
    except Exception:
        wire.send(trace=traceback.format_exc())
        return 1
    return 0


def run_checks(job: Job, pod: Pod, intake: Intake, wire: Wire) -> None:
    """Runs the lab's checks under pytest."""
    os.environ.pop("PYTEST_ADDOPTS", None)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    package = job.lab.checks
    # Only the package's own modules: beside them lie whole submissions, which nothing here may import.
    folder = Path(importlib.import_module(package).__file__ or "").parent
    modules = sorted(f"{package}.{path.stem}" for path in folder.glob("[a-z]*.py"))
    pytest.register_assert_rewrite(package)
    background: frozenset[str] = importlib.import_module(f"{package}.fixtures").BACKGROUND
    plugin = Checks(job, pod, intake, wire, background)
    arguments = [
        "--pyargs",
        *modules,
        *("-c", os.devnull, "--rootdir", str(job.folder), "-p", f"{package}.fixtures"),
        *("-p", "no:cacheprovider", "-p", "no:terminal", "-p", "no:doctest", "-p", "no:junitxml", "-p", "no:logging"),
        *("--capture=no", "-o", "python_files=*.py", "-o", "python_functions=", "-o", "python_classes="),
    ]
    status = pytest.main(arguments, plugins=[plugin])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        wire.send(trace=f"pytest ended with {status!r} for {json.dumps(arguments)}: {plugin.collection_errors}")


if __name__ == "__main__":
    sys.exit(main())
