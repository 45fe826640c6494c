"""Holds an examination: starts the invigilator behind walls, follows its words, and makes the marks.

Fail closed: an exercise without a mark is an ``error``, never a pass and never a fail. Exercises that ended in
``error`` are examined again once, in a new pod.
"""

from __future__ import annotations

import os
import selectors
import sys
import time
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from autograder.classroom.assignment import Assignment
from autograder.classroom.exam.model import Cell, Mark, Paper, Word
from autograder.errors import MachineError
from autograder.pods import Walls, enter, pod_folder, walls
from autograder.report.model import Verdict

ATTEMPTS = 2
DEADLINE = 900.0  # seconds for one notebook before the machine is to blame
LOST = "The grader stopped before this exercise; that is not your work's fault."


def cells_of(assignment: Assignment) -> tuple[Cell, ...]:
    """The code cells of the instructor's notebook."""
    found = []
    for cell in assignment.cells:
        if cell["cell_type"] != "code":
            continue
        about, tags = cell["metadata"].get("nbgrader", {}), cell["metadata"].get("tags", [])
        kind = _kind(about, tags)
        found.append(
            Cell(
                kind=kind,
                source=cell["source"],
                name=about.get("grade_id", ""),
                points=about.get("points", 0) if kind == "test" else 0,
                tagged="raises-exception" in tags,
            )
        )
    return tuple(found)


def _kind(about: dict[str, Any], tags: list[str]) -> str:
    if about.get("solution"):
        return "solution"
    if about.get("grade"):
        return "test"
    if about.get("locked"):  # what nbgrader calls a read-only cell
        return "helper"
    return "demonstration" if "demonstration" in tags else "plain"


def examine_notebook(
    assignment: Assignment,
    handed_in: dict[str, str],
    extra: tuple[str, ...] = (),
    *,
    sandbox: bool = True,
    log: list[str] | None = None,
) -> tuple[Mark, ...]:
    """Marks every exercise of a notebook.

    Args:
        assignment: whose notebook.
        handed_in: the student's cells by their ids.
        extra: cells that students have added; what they define is there for the others.
        sandbox: refuse to run somebody else's work on a machine that offers no walls.
        log: gets what an instructor needs to find a fault of ours; never for students.

    Raises:
        MachineError: this machine offers no sandbox.
    """
    built = walls()
    if sandbox and not built.namespaces:
        raise MachineError(
            "This machine offers no sandbox for notebooks.",
            "Somebody else's code is run behind walls only.",
            "Grade on Linux with namespaces; if you trust this code, add --no-sandbox.",
        )
    told = log if log is not None else []
    marks = {exercise.test: _lost(exercise.test, exercise.points) for exercise in assignment.exercises}
    cells = cells_of(assignment)
    for _ in range(ATTEMPTS):
        with pod_folder() as folder, pod_folder() as state:
            paper = Paper(
                cells=cells,
                handed_in=handed_in,
                extra=extra,
                lab=assignment.lab.id,
                folder=folder,
                state=state,
                namespaces=built.namespaces,
                user=built.user,
            )
            for word in _words(paper, told):
                if word.trace is not None:
                    told.append(word.trace)
                mark = word.mark
                if mark is not None and mark.test in marks and marks[mark.test].verdict is Verdict.ERROR:
                    # What it is worth stands in our notebook, whatever was said.
                    marks[mark.test] = mark.model_copy(update={"points": marks[mark.test].points})
        if all(mark.verdict is not Verdict.ERROR for mark in marks.values()):
            break
        built = walls()
    return tuple(marks.values())


def _lost(test: str, points: float) -> Mark:
    return Mark(test=test, points=points, verdict=Verdict.ERROR, saw=LOST)


def _words(paper: Paper, log: list[str]) -> Iterator[Word]:
    """What the invigilator says, to its end or the deadline."""
    job = paper.folder / "paper.json"  # the pod's own files will lie above it
    read, write = os.pipe()
    try:
        job.write_text(paper.model_dump_json(), "utf-8")
        # -P: no folder that happens to be the current one is looked into for modules.
        argv = [sys.executable, "-P", "-m", "autograder.classroom.exam.invigilator", str(job), str(write)]
        process, lifeline = enter(argv, Walls(paper.namespaces, paper.user), (write,))
        os.close(write)
        write = -1
        try:
            yield from _lines(read, time.monotonic() + DEADLINE, log)
        finally:
            os.close(lifeline)
            process.wait()
    finally:
        for descriptor in (read, write):
            if descriptor >= 0:
                os.close(descriptor)


def _lines(read: int, deadline: float, log: list[str]) -> Iterator[Word]:
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(read, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            chunk = os.read(read, 1 << 16)
            if not chunk:
                return
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                try:
                    yield Word.model_validate_json(line)
                except ValidationError as error:
                    log.append(f"words that can't be read: {error}")
    log.append(f"the invigilator was not done after {DEADLINE:g} seconds")


__all__ = ["cells_of", "examine_notebook"]
