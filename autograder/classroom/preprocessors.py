"""What nbgrader uses in place of its own steps: cells graded from outside, points from the outcome, no hidden tests.

So `nbgrader autograde` by itself, and formgrader's button, are as safe as `make grade`, and come to the same points:
each of them first looks into the journal, and what is not there is graded now.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from nbformat import NotebookNode, v4
from nbgrader.api import Gradebook
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Unicode

from autograder.classroom.assignment import Assignment, load_assignment, source_notebook
from autograder.classroom.gradebook import write_outcome
from autograder.classroom.job import Task, run_task
from autograder.classroom.outcome import Journal, Outcome, grader_digest
from autograder.classroom.submitted import fingerprint, read_submission
from autograder.errors import GraderError
from autograder.report.model import Verdict

HIDDEN = re.compile(r"^[^\n]*BEGIN HIDDEN TESTS.*?(?:END HIDDEN TESTS[^\n]*(?:\n|\Z)|\Z)", re.MULTILINE | re.DOTALL)


def find_outcome(root: Path, assignment: Assignment, student: str) -> Outcome:
    """The outcome for what a student has handed in, from the journal or graded now.

    Raises:
        GraderError: it could not be graded.
    """
    digest = digest_of(root, assignment, student)
    journal = Journal(root, assignment.name)
    outcome = journal.find(student, digest)
    if outcome is None:
        task = Task(root=root, assignment=assignment.name, student=student, digest=digest)
        outcome = Outcome.model_validate_json(run_task(task.model_dump_json()))
        journal.keep(outcome)
    if not outcome.graded:
        raise GraderError(f"{student} could not be graded: {outcome.why()}")
    return outcome


def digest_of(root: Path, assignment: Assignment, student: str) -> str:
    """What an outcome is kept under: the work, and what graded it."""
    return f"{fingerprint(read_submission(root, assignment, student))}:{grader_digest(assignment)}"


class FromOutcome(NbGraderPreprocessor):  # type: ignore[misc]
    """Knows the outcome that belongs to the notebook at hand."""

    root = Unicode(help="The course's folder, with `submitted` in it.").tag(config=True)

    def find(self, resources: dict[str, Any]) -> tuple[Assignment, Outcome]:
        about = resources["nbgrader"]
        assignment = load_assignment(about["assignment"])
        return assignment, find_outcome(Path(self.root).absolute(), assignment, about["student"])


class RestoreMetadata(NbGraderPreprocessor):  # type: ignore[misc]
    """Before nbgrader's own: which cells are tests and what they are worth is read from our notebook.

    A student can edit a notebook's metadata; nbgrader gives up on a test cell that is none any more.
    """

    def preprocess(self, nb: Any, resources: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        ours = source_notebook(load_assignment(resources["nbgrader"]["assignment"]))["cells"]
        node: Any = NotebookNode
        known = {cell["metadata"]["nbgrader"]["grade_id"]: cell for cell in ours if "nbgrader" in cell["metadata"]}
        for cell in nb.cells:
            about = cell.metadata.pop("nbgrader", None)
            name = about.get("grade_id") if isinstance(about, dict) else None
            if isinstance(name, str) and name in known:
                cell.metadata["nbgrader"] = node(dict(known[name]["metadata"]["nbgrader"]))
        return nb, resources


class GradeFromOutside(FromOutcome):
    """In place of ``Execute``: nothing is executed here; a test cell shows its verdict."""

    def preprocess(self, nb: Any, resources: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        _, outcome = self.find(resources)
        marks = {mark.test: mark for mark in outcome.marks}
        for cell in nb.cells:
            if cell.cell_type != "code":
                continue
            cell.outputs, cell.execution_count = [], None
            mark = marks.get(cell.metadata.get("nbgrader", {}).get("grade_id", ""))
            if mark is not None and mark.verdict is not Verdict.PASSED:
                shown: Any = v4.new_output
                cell.outputs = [shown("error", ename="Failed", evalue=mark.saw, traceback=[mark.saw])]
        return nb, resources


class SaveOutcome(FromOutcome):
    """In place of ``SaveAutoGrades``: all points and comments as the outcome has them, whatever cells are here."""

    def preprocess(self, nb: Any, resources: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        assignment, outcome = self.find(resources)
        with Gradebook(resources["nbgrader"]["db_url"]) as gradebook:
            write_outcome(gradebook, assignment, outcome)
        return nb, resources


class HideTests(NbGraderPreprocessor):  # type: ignore[misc]
    """Takes hidden tests out of what students read.

    In every cell: a student may have taken away what marks a cell as a test, and nbgrader has put its text back. An
    opening mark without its partner hides the rest of the cell, and stops nobody's feedback.
    """

    def preprocess_cell(self, cell: Any, resources: dict[str, Any], cell_index: int) -> tuple[Any, dict[str, Any]]:
        cell.source = HIDDEN.sub("", cell.source).rstrip("\n")
        return cell, resources
