"""`make grade`: a whole class, several at a time, from `submitted/` to the gradebook, the exports and a page each.

What was graded before and has not changed, in the work or in the checks, is taken from the journal. The gradebook is
written by this process alone, one student after the other, from outcomes only: however often a run is killed, the last
one ends in the same gradebook.
"""

from __future__ import annotations

import fcntl
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from autograder.classroom.assignment import Assignment, load_assignment, make_sources
from autograder.classroom.batch import default_jobs, run_all
from autograder.classroom.export import canvas, moodle, rows
from autograder.classroom.feedback import number, write_feedback
from autograder.classroom.gradebook import ensure_assignment, open_api, record
from autograder.classroom.job import Task
from autograder.classroom.outcome import STUDENT, Journal, Outcome
from autograder.classroom.preprocessors import digest_of
from autograder.classroom.submitted import students
from autograder.errors import CourseError, MachineError, UsageError
from autograder.report.wording import plain


@dataclass
class Class:
    """A run over a class: what came out so far.

    Attributes:
        outcomes: by student; also what could only be graded in part.
        lost: students of whom nothing came out, and why.
        problems: what an instructor should look at, a sentence each.
        reused: how many outcomes were in the journal.
    """

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    reused: int = 0


def grade_class(
    name: str, root: Path, *, jobs: int = 0, scheduler: str = "", runtime: str = "auto", sandbox: bool = True
) -> int:
    """Grades everybody's assignment and writes the gradebook, the exports and the feedback pages.

    Args:
        name: the lab.
        root: the course's folder, with ``submitted`` in it.
        jobs: how many at a time; 0: as many as this machine has processors and memory for.
        scheduler: a Dask scheduler's address, to grade on its workers.
        runtime: where the labs' services run.
        sandbox: whether walls are insisted on.

    Returns:
        0 when everybody is graded, 3 when somebody could not be.

    Raises:
        UsageError: there is no such lab, or nobody has handed it in.
        MachineError: another run is at it, or this machine lacks something.
    """
    assignment, console = load_assignment(name), Console()
    names = students(root, assignment)
    with _alone(root, assignment), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nbgrader's own, about how it uses its database
        make_sources(root)
        api = open_api(root)
        ensure_assignment(api, assignment)
        began = time.monotonic()
        result = _grade_all(assignment, root, names, jobs or default_jobs(), scheduler, runtime, sandbox, api, console)
        files = _write_exports(assignment, root, api)
    _summary(assignment, result, console, time.monotonic() - began, files)
    return 3 if result.lost or any(not outcome.graded for outcome in result.outcomes.values()) else 0


def _grade_all(
    assignment: Assignment,
    root: Path,
    names: list[str],
    jobs: int,
    scheduler: str,
    runtime: str,
    sandbox: bool,
    api: Any,
    console: Console,
) -> Class:
    result, journal, tasks = Class(), Journal(root, assignment.name), []
    journal.sweep()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    with Progress(*columns, console=console, speed_estimate_period=3600) as progress:
        bar = progress.add_task(f"{assignment.name}, {jobs} at a time", total=len(names))

        def settle(outcome: Outcome) -> None:
            _settle(assignment, root, api, result, outcome)
            mark = f"{number(outcome.score):>5} of {number(outcome.max_score)}" if outcome.graded else "not graded"
            progress.console.print(f"{mark:>14}  {plain(outcome.student)}", highlight=False, markup=False)
            progress.advance(bar)

        for student in names:
            try:
                if not STUDENT.match(student):
                    raise UsageError(f"The folder name {student!a} can't be used.")
                digest = digest_of(root, assignment, student)
            except CourseError as error:
                result.lost[student] = error.saw
                progress.advance(bar)
                continue
            outcome = journal.find(student, digest)
            if outcome is not None:
                result.reused += 1
                settle(outcome)
            else:
                journal.forget(student)
                work = Task(root=root, assignment=assignment.name, student=student, digest=digest)
                tasks.append(work.model_copy(update={"runtime": runtime, "sandbox": sandbox}))
        for task, found in run_all(tasks, jobs, scheduler) if tasks else ():
            if isinstance(found, Outcome) and (found.student, found.digest) == (task.student, task.digest):
                journal.keep(found)
                settle(found)
            else:
                result.lost[task.student] = str(found)[:600]
                progress.console.print(f"{'not graded':>14}  {plain(task.student)}", highlight=False, markup=False)
                progress.advance(bar)
    return result


def _settle(assignment: Assignment, root: Path, api: Any, result: Class, outcome: Outcome) -> None:
    """One outcome into the gradebook and onto its page. What could only be graded in part gets no points yet."""
    result.outcomes[outcome.student] = outcome
    write_feedback(assignment, outcome, root / "grades" / assignment.name / "feedback")
    if not outcome.graded:
        return
    if outcome.left_out:
        result.problems.append(f"{outcome.student}: {outcome.left_out} checks can't be run on this machine.")
    done = root / "grades" / assignment.name / "journal" / f".{outcome.student}.recorded"
    if done.is_file() and done.read_text("utf-8") == outcome.digest and _recorded(api, assignment, outcome):
        return
    problem = record(api, assignment, outcome)
    if problem:
        result.problems.append(problem)
    done.write_text(outcome.digest, "utf-8")


def _recorded(api: Any, assignment: Assignment, outcome: Outcome) -> bool:
    """Whether the gradebook has this outcome: it may have been removed since."""
    from nbgrader.api import MissingEntry

    try:
        with api.gradebook as gradebook:
            where = (assignment.notebook_name, assignment.name, outcome.student)
            found = {mark.test: gradebook.find_grade(mark.test, *where).auto_score for mark in outcome.marks}
            lab = gradebook.find_grade(assignment.name, *where).auto_score
    except MissingEntry:
        return False
    return lab == outcome.lab_score and found == {mark.test: mark.score for mark in outcome.marks}


def _write_exports(assignment: Assignment, root: Path, api: Any) -> dict[str, Path]:
    folder = root / "grades" / assignment.name
    with api.gradebook as gradebook:
        worth, everybody = rows(gradebook, root, [assignment.name])
    files = {"for Canvas": folder / "canvas.csv", "for Moodle": folder / "moodle.csv"}
    files["for Canvas"].write_text(canvas(worth, everybody), "utf-8")
    files["for Moodle"].write_text(moodle(worth, everybody), "utf-8")
    return files | {"a page for each student": folder / "feedback", "the gradebook": root / "gradebook.db"}


@contextmanager
def _alone(root: Path, assignment: Assignment) -> Iterator[None]:
    """One run at a time for an assignment: two would write the same gradebook."""
    folder = root / "grades" / assignment.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise MachineError(f"{folder} can't be made: {error.strerror}.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise MachineError(
            f"{assignment.name} is being graded already, by another run.", "One at a time.", "Wait for it, or stop it."
        ) from None
    finally:
        os.close(descriptor)


def _summary(assignment: Assignment, result: Class, console: Console, seconds: float, files: dict[str, Path]) -> None:
    graded = [outcome for outcome in result.outcomes.values() if outcome.graded]
    table = Table(title=f"{assignment.name}: {assignment.lab.title}", title_justify="left")
    for column in ("student", "notebook", "lab", "points", ""):
        table.add_column(column, justify="left" if column in ("student", "") else "right")
    for student, outcome in sorted(result.outcomes.items()):
        exercises = sum(mark.score for mark in outcome.marks)
        remark = "" if outcome.graded else "not graded"
        count = len(outcome.notes)
        remark = remark or (f"{count} note{'s' if count > 1 else ''}" if count else "")
        points = [number(exercises), number(outcome.lab_score), number(outcome.score)] if outcome.graded else ["–"] * 3
        table.add_row(plain(student), *points, remark)
    for student in sorted(result.lost):
        table.add_row(plain(student), "–", "–", "–", "not graded")
    console.print(table)
    scores = [outcome.score for outcome in graded]
    middle = f", median {number(median(scores))} of {number(assignment.points)}" if scores else ""
    new = len(result.outcomes) - result.reused
    console.print(f"{len(graded)} graded{middle}; {new} anew in {seconds:.0f} s, {result.reused} as before.")
    for what, path in files.items():
        console.print(f"  {what}: {path}", highlight=False, markup=False, soft_wrap=True)
    lost = dict(result.lost)
    lost |= {student: one.why() for student, one in result.outcomes.items() if not one.graded}
    for student, why in sorted(lost.items()):
        text = f"! {plain(student)} has no grade yet: {plain(why)} Run the same command again."
        console.print(text, highlight=False, markup=False, soft_wrap=True, style="bold")
    for problem in result.problems:
        console.print(f"! {plain(problem)}", highlight=False, markup=False, soft_wrap=True)
