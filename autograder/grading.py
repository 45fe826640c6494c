"""Grades one submission in one pod: starts the worker behind walls, follows its events, and makes the report.

Fail closed: a check without a result is an ``error``, never a pass and never a fail. Checks that ended in ``error``
are run again once, in a new pod.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from autograder.errors import GraderError, MachineError
from autograder.events import Event
from autograder.job import Job
from autograder.lab import LABS, SOLUTIONS, Lab
from autograder.pods import SERVICE, LocalRuntime, Program, Runtime, Session, choose
from autograder.ports import holder
from autograder.report import Finding, Report, Result, Verdict
from autograder.submission import examine

ATTEMPTS = 2
AGAIN = "Run it again; it is not your work's fault."
LOST = Finding(saw="The grader stopped before this check.", hint=AGAIN)
BROKEN = Finding(saw="What this check ran on broke, so it says nothing about your work.", hint=AGAIN)
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
    runtime: str = "local",
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
        runtime: ``local``, ``docker``, or ``auto``: Docker where an engine answers and has the images.
        progress: told of each check as it starts and ends.
        log: gets what an instructor needs to find a fault of ours; never for students.

    Raises:
        SubmissionError: the submission can't be taken in.
        MachineError: this machine lacks something.
        GraderError: no check could be run at all.
    """
    submission = submission.absolute()
    examine(submission)
    place = choose(runtime, lab.services)
    walled = not isinstance(place, LocalRuntime) or place.walls.namespaces
    own_work = any(submission.resolve().is_relative_to(folder) for folder in (LABS, SOLUTIONS))
    if sandbox and not walled and not own_work:
        raise MachineError(
            "This machine offers no sandbox, and the submission lies outside of labs/.",
            "Somebody else's code is run behind walls only.",
            "Grade on Linux with namespaces or with Docker; if you trust this code, add --no-sandbox.",
        )
    if not walled:
        _require_ports(lab)
    began, started = time.monotonic(), datetime.now(UTC)
    run = _Run(lab, submission, place, visible, progress or Silent(), log if log is not None else [])
    run.seed = seed
    for _ in range(ATTEMPTS):
        try:
            run.attempt()
        except GraderError as error:  # no pod could be made; what an earlier attempt found is still worth a report
            run.log.append(str(error))
            if not run.results:
                raise
        if not run.errors():
            break
    if not run.results:
        raise GraderError("No check could be run.", "", "The reason is in grader.log, beside the report.")
    return Report(
        lab=lab.id,
        title=lab.title,
        submission=submission.name,
        seed=run.seed or 0,
        runtime=place.name,
        isolation=place.isolation,
        versions=run.versions | place.versions,
        notes=tuple(run.notes),
        skills=lab.skills,
        results=tuple(run.results.values()),
        seconds=time.monotonic() - began,
        started=started.isoformat(timespec="seconds"),
        complete=not (visible or lab.visible_only),
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


def first(lab: Lab) -> Program | None:
    """The service that a lab's checks begin with, if there is one."""
    return Program(lab.first, limits=SERVICE, service=lab.services[0]) if lab.first else None


class _Run:
    """One submission's results while they come in, over all attempts."""

    def __init__(
        self, lab: Lab, submission: Path, place: Runtime, visible: bool, progress: Progress, log: list[str]
    ) -> None:
        self.lab, self.submission, self.place, self.visible = lab, submission, place, visible
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
        pod = self.place.session(self.submission, first(self.lab))
        with pod as session, contextlib.closing(self._events(session)) as events:
            # The events are closed before the session is, also when this is interrupted: first the worker's end.
            self._note(*session.notes)
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
                elif event.note is not None:
                    self._note(event.note)
                elif event.seed is not None:
                    self.seed = event.seed
                elif event.version is not None:
                    self.versions[event.version[0]] = event.version[1]
                elif event.trace is not None:
                    self.log.append(event.trace)
                elif event.done:
                    finished = True
            intact = session.intact()
            if not finished:
                self.log.append("the worker did not come to its end")
            if not (finished and intact) and session.trace():
                self.log.append(f"what its pod said\n{session.trace()}")
        for name, plan in planned.items():
            result = ended.get(name)
            if result is None:
                result = plan.model_copy(update={"verdict": Verdict.ERROR, "finding": LOST})
            elif result.verdict in (Verdict.FAILED, Verdict.BLOCKED) and not intact:
                result = result.model_copy(update={"verdict": Verdict.ERROR, "finding": BROKEN, "blocked_by": ()})
            if name not in settled:
                self.results[name] = result

    def _note(self, *notes: str) -> None:
        self.notes += [note for note in notes if note not in self.notes]

    def _events(self, session: Session) -> Generator[Event]:
        """What the session's worker says, until it ends or its deadline passes."""
        job = Job(self.lab.short, self.lab.checks, self.lab.files, session.seat, self.seed, self.visible)
        with contextlib.closing(session.lines(job.line(), time.monotonic() + self.lab.deadline)) as lines:
            for line in lines:
                try:
                    yield Event.model_validate_json(line)
                except ValidationError as error:
                    self.log.append(f"an event that can't be read: {error}")
