"""What a made-up student is, and how their work gets into ``submitted/``.

Each of them is the reference after a few edits; nothing is stored twice. What they earn stands beside what they do.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autograder.classroom.assignment import Assignment, source_notebook
from autograder.classroom.faults import alternatives, load_faults
from autograder.classroom.preprocessors import HIDDEN
from autograder.lab import LABS, SOLUTIONS

LEFT_OUT = shutil.ignore_patterns("models", "__pycache__")
FAULT = "format-is-ignored"  # costs one check of 5 points, and one of 4 that waits for it


@dataclass(frozen=True)
class Student:
    """One made-up student.

    Attributes:
        does: what is special about them, for a reader.
        exercises: the points that their notebook earns, by exercise; what is not in here earns none.
        lab: the points that their lab earns.
        cells: what stands in their solution cells, by the cell's id; elsewhere what the reference has.
        first: a cell that they have put in front of all others.
        files: where their lab's files come from: ``reference``, ``starter``, ``alternative``, ``fault`` or nothing.
        edit: a last edit of their folder.
    """

    does: str
    exercises: dict[str, float] = field(default_factory=dict)
    lab: float = 0
    cells: dict[str, str] = field(default_factory=dict)
    first: str = ""
    files: str = ""
    edit: Callable[[Path], object] | None = None

    @property
    def score(self) -> float:
        return self.lab + sum(self.exercises.values())


def write_student(root: Path, assignment: Assignment, name: str, student: Student) -> Path:
    """Writes one student's submission anew; gives its folder."""
    folder = root / "submitted" / name / assignment.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    notebook = json.dumps(handed_in(assignment, student, root), indent=1)
    (folder / assignment.notebook.name).write_text(notebook, "utf-8")
    lab = folder / "labs" / assignment.lab.id
    match student.files:
        case "reference":
            shutil.copytree(SOLUTIONS / assignment.lab.id, lab, ignore=LEFT_OUT)
        case "starter":
            shutil.copytree(LABS / assignment.lab.id, lab, ignore=LEFT_OUT)
        case "alternative":
            shutil.copytree(alternatives(assignment.lab)[-1], lab, ignore=LEFT_OUT)
        case "fault":
            (fault,) = (found for found in load_faults(assignment.lab) if found.name == FAULT)
            with fault.submission(assignment.lab) as wrong:
                shutil.copytree(wrong, lab)
    if student.edit is not None:
        student.edit(folder)
    return folder


def handed_in(assignment: Assignment, student: Student, root: Path) -> dict[str, Any]:
    """A student's notebook: as released, with their own cells in it."""
    notebook = source_notebook(assignment)
    for cell in notebook["cells"]:
        about = cell["metadata"].get("nbgrader", {})
        source = "".join(cell["source"])
        if about.get("solution"):
            name = about["grade_id"]
            source = student.cells.get(name, source).replace("{root!r}", repr(str(root))).replace("{root}", str(root))
        cell["source"] = HIDDEN.sub("", source)
    if student.first:
        own = {"cell_type": "code", "id": "own", "metadata": {}, "source": student.first}
        notebook["cells"].insert(0, own | {"outputs": [], "execution_count": None})
    return notebook
