"""Grades one submission in one pod: starts the worker behind walls, follows its events, and makes the report.

Fail closed: a check without a result is an ``error``, never a pass and never a fail. Checks that ended in ``error``
are run again once, in a new pod.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import sys
import time
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from autograder.errors import GraderError, MachineError
from autograder.lab import LABS, SOLUTIONS, Lab
from autograder.pods import Walls, enter, pod_folder, walls
from autograder.ports import holder
from autograder.report import Finding, Report, Result, Verdict
from autograder.submission import examine
from autograder.worker import Event, Job

ATTEMPTS = 2
STANDARD_PORTS = {"tfserving": (8500, 8501)}


class Progress(Protocol):
    """Someone who wants to know how grading goes on."""

    def planned(self, total: int) -> None: ...
    def started(self, check_id: str, title: str) -> None: ...
    def finished(self, result: Result) -> None: ...


class Silent:
    """Nobody wants to know."""

    def planned(self, total: int) -> None: ...
    def started(self, check_id: str, title: str) -> None: ...
    def finished(self, result: Result) -> None: ...


def grade(
    lab: Lab,
    submission: Path,
    *,
    seed: int | None = None,
    visible: bool = False,
    sandbox: bool = True,
    progress: Progress | None = None,
    log: list[str] | None = None,
) -> Report:
    """Grades one submission.

    Args:
        lab: the lab it is for.
        submission: the student's folder.
        seed: what models, inputs and names are made from; by default a number from the submission's content.
        visible: run the visible checks only.
        sandbox: refuse to run somebody else's work on a machine that offers no walls.
        progress: told of each check as it starts and ends.
        log: gets what an instructor needs to find a fault of ours; never for students.

    Raises:
        SubmissionError: the submission can't be taken in.
        MachineError: this machine lacks something.
        GraderError: no check could be run at all.
    """
    submission = submission.absolute()
    examine(submission)
    built = walls()
    own_work = any(submission.resolve().is_relative_to(folder) for folder in (LABS, SOLUTIONS))
    if sandbox and not built.namespaces and not own_work:
        raise MachineError(
            "This machine offers no sandbox, and the submission lies outside of labs/.",
            "Somebody else's code is run behind walls only.",
            "Grade on Linux with namespaces or with Docker; if you trust this code, add --no-sandbox.",
        )
    if not built.namespaces:
        _require_ports(lab)
    began, started = time.monotonic(), datetime.now(UTC)
    run = _Run(lab, submission, built, visible, progress or Silent(), log if log is not None else [])
    run.seed = seed
    for _ in range(ATTEMPTS):
        run.attempt()
        if not run.errors():
            break
    if not run.results:
        raise GraderError("No check could be run.", "", "The reason is in grader.log, beside the report.")
    return Report(
        lab=lab.id,
        title=lab.title,
        submission=submission.name,
        seed=run.seed or 0,
        runtime="local",
        isolation=built.sentences(),
        versions=run.versions,
        notes=tuple(run.notes),
        skills=lab.skills,
        results=tuple(run.results.values()),
        seconds=time.monotonic() - began,
        started=started.isoformat(timespec="seconds"),
        complete=not visible,
    )


def _require_ports(lab: Lab) -> None:
    for service in lab.services:
        for port in STANDARD_PORTS.get(service, ()):
            found = holder(port)
            if found is not None:
                raise MachineError(
                    f"Port {port} is taken by {found}.",
                    f"{service} needs it, because this machine offers no network namespaces.",
                    "Stop that program; if it is a pod of yours, `make down`.",
                )


class _Run:
    """One submission's results while they come in, over all attempts."""

    def __init__(
        self, lab: Lab, submission: Path, built: Walls, visible: bool, progress: Progress, log: list[str]
    ) -> None:
        self.lab, self.submission, self.walls, self.visible = lab, submission, built, visible
        self.progress, self.log = progress, log
        self.seed: int | None = None
        self.results: dict[str, Result] = {}
        self.versions: dict[str, str] = {}
        self.notes: list[str] = []

    def errors(self) -> bool:
        return not self.results or any(result.verdict is Verdict.ERROR for result in self.results.values())

    def attempt(self) -> None:
        """One worker in one new pod. Verdicts that an earlier attempt reached stay as they are."""
        settled = {name for name, result in self.results.items() if result.verdict is not Verdict.ERROR}
        planned: dict[str, Result] = {}
        ended: dict[str, Result] = {}
        finished = False
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(pod_folder())
            # Closed before the folder goes, also when this is interrupted: first the worker's end, then its files'.
            events = stack.enter_context(contextlib.closing(self._events(folder)))
            for event in events:
                if event.checks is not None:
                    planned = {result.check: result for result in event.checks}
                    self.progress.planned(len(planned))
                elif event.started is not None and event.started in planned:
                    self.progress.started(event.started, planned[event.started].title)
                elif event.result is not None:
                    ended[event.result.check] = event.result
                    if event.result.check not in settled:
                        self.progress.finished(event.result)
                elif event.note is not None and event.note not in self.notes:
                    self.notes.append(event.note)
                elif event.seed is not None:
                    self.seed = event.seed
                elif event.version is not None:
                    self.versions[event.version[0]] = event.version[1]
                elif event.trace is not None:
                    self.log.append(event.trace)
                elif event.done:
                    finished = True
        if not finished:
            self.log.append("the worker did not come to its end")
        lost = Finding(saw="The grader stopped before this check.", hint="Run it again; it is not your work's fault.")
        for name, plan in planned.items():
            result = ended.get(name) or plan.model_copy(update={"verdict": Verdict.ERROR, "finding": lost})
            if name not in settled:
                self.results[name] = result

    def _events(self, folder: Path) -> Generator[Event]:
        """Starts the worker and yields what it says, until it ends or its deadline passes."""
        read, write = os.pipe()
        job = Job(
            lab=self.lab,
            submission=self.submission,
            folder=folder,
            namespaces=self.walls.namespaces,
            user=self.walls.user,
            seed=self.seed,
            visible=self.visible,
            events=write,
        )
        argv = [sys.executable, "-P", "-m", "autograder.worker", job.model_dump_json()]
        try:
            worker, lifeline = enter(argv, self.walls, (write,))
        finally:
            os.close(write)
        try:
            for line in _lines(read, time.monotonic() + self.lab.deadline):
                try:
                    yield Event.model_validate_json(line)
                except ValidationError as error:
                    self.log.append(f"an event that can't be read: {error}")
        finally:
            os.close(read)
            os.close(lifeline)
            worker.wait()


def _lines(descriptor: int, deadline: float) -> Iterator[bytes]:
    """Lines from a pipe until its end or the deadline."""
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            chunk = os.read(descriptor, 1 << 16)
            if not chunk:
                return
            *lines, pending = (pending + chunk).split(b"\n")
            yield from lines
