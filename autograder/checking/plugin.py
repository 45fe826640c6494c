"""The pytest plugin that runs a lab's checks: collects them, runs them side by side, makes verdicts of their ends.

pytest gets this plugin and nothing else: no configuration, no cache, no plugin that happens to be installed, and never
a student's folder on ``sys.path``.
"""

from __future__ import annotations

import importlib
import json
import os
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from autograder.checking import Check, EvidenceBox, clean
from autograder.checking.context import Context
from autograder.checking.fixtures import BOX, CONTEXT
from autograder.errors import CheckFailed, CourseError, NotRun
from autograder.report.model import Finding, Result, Verdict
from autograder.schedule import Task, arrived, followers_of, in_order, run_all

Tell = Callable[..., None]
# Checks at a time that use nothing for themselves, on every machine alike. They run the student's programs, and more of
# them would keep a processor from the student's training and servers.
SIDE_BY_SIDE = 2


class Checks:
    """The pytest plugin: makes checks test items, orders them, blocks them, and turns their ends into verdicts."""

    def __init__(self, lab: str, visible: bool, tell: Tell, context: Context, traits: ModuleType) -> None:
        """
        Args:
            lab: the lab's short name, which every check's id begins with.
            visible: run the visible checks only.
            tell: told of what happens, by the names of the fields of an ``Event``.
            context: what the checks' fixtures give.
            traits: the module that says what is ``SLOW`` and what is ``EXCLUSIVE``.
        """
        self.lab, self.visible, self.tell, self.context = lab, visible, tell, context
        self._slow: frozenset[str] = traits.SLOW
        self._exclusive: dict[str, str] = traits.EXCLUSIVE
        self._verdicts: dict[str, Verdict] = {}
        self._items: dict[str, pytest.Item] = {}
        self.collection_errors: list[str] = []

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[CONTEXT] = self.context

    # -- collection --------------------------------------------------------------------------------------------

    def pytest_pycollect_makeitem(self, collector: pytest.Module, name: str, obj: object) -> Any:
        if isinstance(getattr(obj, "__check__", None), Check) and obj.__module__ == collector.obj.__name__:
            return pytest.Function.from_parent(collector, name=name)
        return []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.collection_errors.append(str(report.longrepr))

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """In the order of the skills; what students have comes first."""
        if self.visible:
            items[:] = [item for item in items if _check(item).visible]
        items.sort(key=lambda item: (_check(item).skill, not _check(item).visible))
        self.tell(checks=[self._result(_check(item), Verdict.NOT_RUN) for item in items])

    # -- running -----------------------------------------------------------------------------------------------

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Makes what all checks ask for, then runs them side by side."""
        if session.testsfailed:
            raise session.Interrupted("the checks can't be collected")
        self._items = {_check(item).name: item for item in session.items}
        after = [*session.items[1:], *session.items[-1:]]  # what they all share ends when all of them have
        prepared = [self._prepare(item, following) for item, following in zip(session.items, after, strict=True)]
        try:
            waiting = followers_of(prepared)
            run_all(in_order(sorted(prepared, key=lambda task: self._when(task, waiting))), side_by_side=SIDE_BY_SIDE)
        finally:
            session._setupstate.teardown_exact(None)
        return True

    def _prepare(self, item: pytest.Item, following: pytest.Item) -> Task:
        """Resolves a check's fixtures, in this thread: pytest's own bookkeeping knows only one."""
        box = item.stash[BOX] = EvidenceBox()
        setup = pytest.CallInfo.from_call(lambda: item.session._setupstate.setup(item), "setup")
        arguments = dict(getattr(item, "funcargs", {}))
        item.session._setupstate.teardown_exact(following)
        names = {name: arguments[name] for name in item._fixtureinfo.argnames if name in arguments}  # type: ignore[attr-defined]

        def run() -> None:
            self._run(item.obj, names, box, setup.excinfo)  # type: ignore[attr-defined]

        fixtures = getattr(item, "fixturenames", ())
        uses = frozenset(self._exclusive[name] for name in fixtures if name in self._exclusive)
        return Task(_check(item).name, frozenset(_check(item).needs + _check(item).after), uses, run)

    def _when(self, task: Task, waiting: Mapping[str, int]) -> tuple[bool, bool, bool, int, int]:
        """Those that wait for something slow come late, and before them those that leave disorder behind.

        What can run only one after another takes longest, so it comes first: what most others wait for before the
        rest, and what waits for others after it.
        """
        item = self._items[task.name]
        slow = not self._slow.isdisjoint(getattr(item, "fixturenames", ()))
        return slow, _check(item).last, not task.uses, -waiting[task.name], len(task.needs)

    def _run(
        self,
        function: Any,
        arguments: dict[str, Any],
        box: EvidenceBox,
        setup: pytest.ExceptionInfo[Any] | None,
    ) -> None:
        """One check from its start to its verdict."""
        check: Check = function.__check__
        needed = {name: self._verdicts[name] for name in check.needs if name in self._verdicts}
        missing: dict[str, Verdict] = {
            name: verdict for name, verdict in needed.items() if verdict is not Verdict.PASSED
        }
        self.tell(started=self._id(check.name))
        began = time.monotonic()

        def body() -> None:
            if missing:
                raise Blocked(missing)
            function(**arrived(arguments))

        excinfo = setup or pytest.CallInfo.from_call(body, "call").excinfo
        seconds = time.monotonic() - began
        try:
            result = self._judge(check, excinfo.value if excinfo else None, box, seconds)
        except Exception as error:  # what was found can't be said: no verdict about the work
            excinfo = pytest.ExceptionInfo.from_exception(error)
            result = self._judge(check, error, EvidenceBox(), seconds)
        self._verdicts[check.name] = result.verdict
        if result.verdict is Verdict.ERROR and excinfo is not None:
            # Not pytest's own rendering: it parses source, which Python before 3.11.4 can't do in several threads.
            told = traceback.format_exception(excinfo.value)
            self.tell(trace=clean("".join([f"{result.check}\n", *told])))
        self.tell(result=result)

    def _judge(self, check: Check, error: BaseException | None, box: EvidenceBox, seconds: float) -> Result:
        blocked_by: tuple[str, ...] = ()
        match error:
            case None:
                verdict, finding = Verdict.PASSED, None
            case Blocked(missing=missing):
                verdict = max(missing.values(), key=_WEIGHT.index)
                verdict = Verdict.BLOCKED if verdict is Verdict.FAILED else verdict
                finding, blocked_by = None, tuple(self._id(name) for name in missing)
            case CheckFailed():
                verdict = Verdict.FAILED
                finding = _finding(error.saw, error.expected, error.hint or check.hint)
            case NotRun():
                verdict = Verdict.NOT_RUN
                finding = _finding(error.saw, error.expected, error.hint)
            case AssertionError():
                verdict = Verdict.FAILED
                finding = _finding(str(error).split("\n\n")[0] or check.title, "", check.hint)
            case _:
                verdict = Verdict.ERROR
                said = error.saw if isinstance(error, CourseError) else f"{type(error).__name__}: {error}"
                finding = _finding(
                    f"The grader failed, not your work: {said[:1000]}",
                    "",
                    "Run it again. If it happens again, tell your instructor.",
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
            evidence=tuple(box.items),
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
        return f"{self.lab}/{name}"


# From what blocks least to what blocks most: an error of ours upstream must never look like the student's.
_WEIGHT = [Verdict.PASSED, Verdict.FAILED, Verdict.BLOCKED, Verdict.NOT_RUN, Verdict.ERROR]


class Blocked(Exception):
    """A check that this one needs did not pass."""

    __match_args__ = ("missing",)

    def __init__(self, missing: dict[str, Verdict]) -> None:
        super().__init__(", ".join(missing))
        self.missing = missing


def _finding(saw: str, expected: str, hint: str) -> Finding:
    """What a check has to say; a student's program may have had a hand in its words."""
    return Finding(saw=clean(saw, 4000), expected=clean(expected, 4000), hint=clean(hint, 2000))


def _check(item: pytest.Item) -> Check:
    return item.obj.__check__  # type: ignore[attr-defined, no-any-return]


def run(package: str, lab: str, visible: bool, tell: Tell, context: Context) -> None:
    """Runs a lab's checks under pytest.

    Args:
        package: the name of the package that they are in.
        lab, visible, tell, context: as for ``Checks``.
    """
    os.environ.pop("PYTEST_ADDOPTS", None)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    # Only the package's own modules: beside them lie whole submissions, which nothing here may import.
    folder = Path(importlib.import_module(package).__file__ or "").parent
    modules = sorted(f"{package}.{path.stem}" for path in folder.glob("[a-z]*.py"))
    pytest.register_assert_rewrite(package)
    plugin = Checks(lab, visible, tell, context, importlib.import_module(f"{package}.fixtures"))
    arguments = [
        "--pyargs",
        *modules,
        *(
            "-c",
            os.devnull,
            "--rootdir",
            str(context.pod.outside("/")),
            "-p",
            "autograder.checking.fixtures",
            "-p",
            f"{package}.fixtures",
        ),
        *(f"-pno:{name}" for name in ("cacheprovider", "terminal", "doctest", "junitxml", "logging", "warnings")),
        # No file counts as a test by its name, or pytest rewrites the asserts of all that is imported from now on; and
        # no conftest.py is looked for: pytest would find one in the folder that the command was started in.
        *("--noconftest", "--capture=no", "-o", "python_files=", "-o", "python_functions=", "-o", "python_classes="),
    ]
    status = pytest.main(arguments, plugins=[plugin])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        tell(trace=f"pytest ended with {status!r} for {json.dumps(arguments)}: {plugin.collection_errors}")
