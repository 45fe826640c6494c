"""Grades one student's assignment, as a process of its own: ``python -P -m autograder.classroom.job``.

It reads its task as one line from standard input and writes the outcome as one line to standard output. When its input
is closed before that, whoever wanted the outcome is gone: it ends at once, and its pods with it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

from pydantic import ValidationError

from autograder.classroom.assignment import Assignment, load_assignment
from autograder.classroom.exam.hold import examine_notebook
from autograder.classroom.exam.model import Mark
from autograder.classroom.outcome import Outcome
from autograder.classroom.submitted import HandedIn, read_submission
from autograder.errors import CourseError, GraderError
from autograder.grading import grade
from autograder.report.model import Model, Report, Verdict


class Task(Model):
    """What to grade.

    Attributes:
        root: the course's folder, with ``submitted`` in it.
        assignment: ``lab-01``.
        student: the name of their folder.
        digest: what the outcome will be kept under.
        runtime: where the lab's services run.
        sandbox: whether walls are insisted on.
    """

    root: Path
    assignment: str
    student: str
    digest: str
    runtime: str = "auto"
    sandbox: bool = True


def grade_task(task: Task, log: list[str]) -> Outcome:
    """Grades a notebook and a lab. What can't be graded is in the outcome's ``trouble``; raises nothing of ours."""
    began = time.monotonic()
    assignment = load_assignment(task.assignment)
    submission = read_submission(task.root, assignment, task.student)
    notes: list[str] = []
    trouble: list[str] = []
    marks = _notebook(assignment, submission, task, notes, trouble, log)
    report = _lab(assignment, submission, task, notes, trouble, log)
    return Outcome(
        student=task.student,
        assignment=assignment.name,
        digest=task.digest,
        marks=marks,
        lab=report,
        notes=tuple(notes),
        trouble=tuple(trouble),
        seconds=time.monotonic() - began,
        machine=socket.gethostname(),
    )


def _notebook(
    assignment: Assignment, submission: HandedIn, task: Task, notes: list[str], trouble: list[str], log: list[str]
) -> tuple[Mark, ...]:
    def everything(verdict: Verdict, saw: str) -> tuple[Mark, ...]:
        return tuple(
            Mark(test=exercise.test, points=exercise.points, verdict=verdict, saw=saw)
            for exercise in assignment.exercises
        )

    if submission.problem:
        notes.append(submission.problem)
        return everything(Verdict.FAILED, submission.problem)
    try:
        return examine_notebook(assignment, submission.solutions, submission.extra, sandbox=task.sandbox, log=log)
    except CourseError as error:
        trouble.append(f"the notebook: {error.saw}")
        return everything(Verdict.ERROR, "It could not be graded; that is not your work's fault.")


def _lab(
    assignment: Assignment, submission: HandedIn, task: Task, notes: list[str], trouble: list[str], log: list[str]
) -> Report | None:
    if submission.lab is None:
        notes.append(f"None of the lab's files was handed in ({', '.join(assignment.lab.files)}).")
        return None
    try:
        report = grade(assignment.lab, submission.lab, sandbox=task.sandbox, runtime=task.runtime, log=log)
    except CourseError as error:
        trouble.append(f"the lab: {error}")
        return None
    return report.model_copy(update={"submission": task.student})


_running: set[subprocess.Popen[bytes]] = set()


def stop_tasks() -> None:
    """Ends every task that this process has started, as when it is interrupted."""
    for process in list(_running):
        process.kill()


def run_task(text: str) -> str:
    """Runs a task in a process of its own; gives the outcome. Both are JSON, so any machine can be asked.

    Raises:
        GraderError: the process ended without an outcome.
    """
    argv = [sys.executable, "-P", "-m", "autograder.classroom.job"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        _running.add(process)
        errors: list[bytes] = []
        reader = threading.Thread(target=lambda: errors.append(process.stderr.read()), daemon=True)  # type: ignore[union-attr]
        reader.start()
        try:
            process.stdin.write(text.encode() + b"\n")
            process.stdin.flush()  # and it stays open: its end is the child's
            said = process.stdout.read()
        except BrokenPipeError:
            said = b""
        finally:
            process.stdin.close()
            _running.discard(process)
        status = process.wait()
        reader.join(5)
    try:
        Outcome.model_validate_json(said)
    except ValidationError as error:
        tail = b"".join(errors)[-600:].decode("utf-8", "replace").strip()
        raise GraderError(f"The process that grades ended with {status} and no outcome. {tail or error}") from error
    return said.decode()


def main() -> int:
    task = Task.model_validate_json(sys.stdin.readline())
    out = os.dup(1)
    os.dup2(2, 1)
    threading.Thread(target=_end_with_our_starter, daemon=True).start()
    log: list[str] = []
    try:
        outcome = grade_task(task, log)
    except Exception:
        traceback.print_exc()
        return 1
    finally:
        for entry in log:
            print(entry, file=sys.stderr)
    with os.fdopen(out, "w", encoding="utf-8") as stream:
        stream.write(outcome.model_dump_json())
    return 0


def _end_with_our_starter() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGKILL)  # lifelines close with us, and pods end with their lifelines


if __name__ == "__main__":
    os._exit(main())
