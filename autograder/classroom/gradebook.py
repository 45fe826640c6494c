"""nbgrader's side: its configuration for a course's folder, and points and comments into its gradebook.

What decides is the outcome alone. nbgrader keeps it, shows it in formgrader, and makes the notebooks that go with it.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from autograder.classroom.assignment import Assignment
from autograder.classroom.feedback import comment_on_lab, comment_on_mark
from autograder.classroom.outcome import Outcome
from autograder.errors import GraderError
from autograder.lab import ROOT
from autograder.report.model import Verdict

# nbgrader's own, but: cells are executed by us, hidden tests are taken out of what students read, and points come from
# the outcome instead of from what a cell seems to have printed.
SANITIZE = ("ClearOutput", "DeduplicateIds", "OverwriteKernelspec", "OverwriteCells", "CheckCellMetadata")
JUNK = (".ipynb_checkpoints", "*.pyc", "__pycache__", "feedback", "models", ".venv", ".git")
RESTORE = "autograder.classroom.preprocessors.RestoreMetadata"
EXECUTE = "autograder.classroom.preprocessors.GradeFromOutside"
SAVE = "autograder.classroom.preprocessors.SaveOutcome"
HIDE = "autograder.classroom.preprocessors.HideTests"


def configure(config: Any, root: Path = ROOT) -> None:
    """Fills an nbgrader configuration (``c`` in ``nbgrader_config.py``) for a course's folder."""
    config.CourseDirectory.root = str(root)
    config.FromOutcome.root = str(root)
    config.CourseDirectory.course_id = "model-deployment"
    config.CourseDirectory.max_file_size = 20_000  # kilobytes
    config.CourseDirectory.ignore = [*JUNK]
    config.OverwriteCells.add_missing_cells = True
    config.Autograde.sanitize_preprocessors = [RESTORE, *(f"nbgrader.preprocessors.{name}" for name in SANITIZE)]
    config.Autograde.autograde_preprocessors = [
        EXECUTE,
        "nbgrader.preprocessors.LimitOutput",
        SAVE,
        "nbgrader.preprocessors.AssignLatePenalties",
        "nbgrader.preprocessors.CheckCellMetadata",
    ]
    config.GenerateFeedback.preprocessors = [
        "nbgrader.preprocessors.GetGrades",
        HIDE,
        "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor",
    ]
    config.HTMLExporter.sanitize_html = True  # what a student writes into a notebook is no part of a feedback page


def with_programs() -> None:
    """nbgrader calls `alembic` by its name: the environment's commands are found, whoever started us, and how."""
    programs = str(Path(sys.prefix) / "bin")
    path = os.environ.get("PATH", os.defpath).split(os.pathsep)
    if programs not in path:
        os.environ["PATH"] = os.pathsep.join([programs, *path])


def open_api(root: Path) -> Any:
    """nbgrader's API for a course's folder."""
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import Config

    with_programs()
    config = Config()
    configure(config, root)
    return NbGraderAPI(config=config)


def ensure_assignment(api: Any, assignment: Assignment) -> None:
    """Puts the assignment into the gradebook as it is now, if it is not there yet.

    Raises:
        GraderError: nbgrader can't make it.
    """
    with api.gradebook as gradebook:
        known = {found.name for found in gradebook.assignments}
        if assignment.name in known:
            notebook = gradebook.find_notebook(assignment.notebook_name, assignment.name)
            sources = {cell.name: cell.source for cell in notebook.source_cells}
            tests = {exercise.test for exercise in assignment.exercises}
            ours = {
                cell["metadata"]["nbgrader"]["grade_id"]: cell["source"]
                for cell in assignment.cells
                if cell["metadata"].get("nbgrader", {}).get("grade_id") in tests
            }
            if ours == {name: sources.get(name) for name in ours}:
                return
    made = api.generate_assignment(assignment.name, force=True, create=True)
    if not made["success"]:
        raise GraderError(f"nbgrader could not make {assignment.name}: {_end(made)}")


def record(api: Any, assignment: Assignment, outcome: Outcome) -> str:
    """Writes one outcome into the gradebook and makes its autograded notebook.

    Returns:
        Why there is no autograded notebook, as a sentence; empty when there is one. The points stand in either case.

    Raises:
        GraderError: the gradebook could not be written.
    """
    problem = ""
    notebook = Path(api.coursedir.root) / "submitted" / outcome.student / assignment.name / assignment.notebook.name
    if notebook.is_file() and not notebook.is_symlink():
        made = api.autograde(assignment.name, outcome.student, force=True, create=True)
        if not made["success"]:
            problem = f"nbgrader could not store the notebook of {outcome.student}: {_end(made)}"
    # Again, whatever cells are in the notebook that was handed in: the outcome has the last word.
    try:
        with api.gradebook as gradebook:
            gradebook.update_or_create_student(outcome.student)
            write_outcome(gradebook, assignment, outcome)
    except Exception as error:
        raise GraderError(f"The gradebook could not be written for {outcome.student}: {error}") from error
    return problem


def write_outcome(gradebook: Any, assignment: Assignment, outcome: Outcome) -> None:
    """Every point and comment of an outcome, in one transaction."""
    where = (assignment.notebook_name, assignment.name, outcome.student)
    gradebook.update_or_create_submission(assignment.name, outcome.student)
    comments = {exercise.test: exercise.solution for exercise in assignment.exercises}
    for mark in outcome.marks:
        _set(gradebook.find_grade(mark.test, *where), mark.score, mark.verdict is Verdict.ERROR)
        gradebook.find_comment(comments[mark.test], *where).auto_comment = comment_on_mark(mark) or None
    unfinished = bool(outcome.left_out) or (outcome.lab is None and bool(outcome.trouble))
    _set(gradebook.find_grade(assignment.name, *where), outcome.lab_score, unfinished)
    gradebook.find_comment(assignment.name, *where).auto_comment = comment_on_lab(outcome)
    gradebook.db.commit()


def _set(grade: Any, score: float, unfinished: bool) -> None:
    """A grader's own points stay, and stand above these."""
    grade.auto_score = score
    grade.needs_manual_grade = unfinished or grade.manual_score is not None


def _end(made: dict[str, Any]) -> str:
    """What nbgrader's log comes to: the last exception in it, without its traceback."""
    log = str(made.get("log") or made.get("error") or "it says nothing").strip()
    raised = re.findall(r"^\s*([\w.]+(?:Error|Exception): .*)$", log, re.MULTILINE)
    return raised[-1][:400] if raised else log[-1000:]


__all__ = ["configure", "ensure_assignment", "open_api", "record", "with_programs", "write_outcome"]
