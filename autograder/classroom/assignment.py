"""An nbgrader assignment: a module's notebook together with its lab's files, as ``source/lab-01``.

The source is made from ``modules/`` and ``labs/``, so there is one truth; it is made anew whenever those have changed,
and git does not keep it. The lab is a *task* cell of the notebook: nbgrader keeps its points and its comment, and never
gets them from a kernel.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from autograder.errors import GraderError, UsageError
from autograder.lab import ROOT, Lab, labs, load_lab

MODULES = ROOT / "modules"
LAB_POINTS = 100
_LEFT_OUT = shutil.ignore_patterns("models", "__pycache__", ".ipynb_checkpoints")
# From modules/01-serving/ it is two steps up to the course; an assignment's notebook lies on top.
_UP = re.compile(r"(\]\()\.\./\.\./(?!\.\.)")


@dataclass(frozen=True)
class Exercise:
    """One exercise of a notebook: the cell where students work, and the cell that tests it.

    Attributes:
        test: the id of the test cell, under which the gradebook keeps the points.
        solution: the id of the cell where students work, under which it keeps the comment.
        points: what it is worth.
    """

    test: str
    solution: str
    points: float


@dataclass(frozen=True)
class Assignment:
    """What is handed in for one lab.

    Attributes:
        lab: the lab.
        module: the folder of the module whose notebook goes with it.
    """

    lab: Lab
    module: Path

    @property
    def name(self) -> str:
        """What nbgrader calls it: ``lab-01``."""
        return self.lab.short

    @property
    def notebook_name(self) -> str:
        """The notebook's name without ``.ipynb``: what nbgrader calls it."""
        return self.module.name

    @property
    def notebook(self) -> Path:
        return self.module / f"{self.module.name}.ipynb"

    @property
    def files(self) -> tuple[str, ...]:
        """The lab's files as they are called in a submission."""
        return tuple(f"labs/{self.lab.id}/{name}" for name in self.lab.files)

    @cached_property
    def cells(self) -> list[dict[str, Any]]:
        """The cells of the module's notebook, solutions and hidden tests included; each ``source`` is one text."""
        try:
            found: list[dict[str, Any]] = json.loads(self.notebook.read_text("utf-8"))["cells"]
        except (OSError, ValueError, KeyError) as error:
            raise GraderError(f"{self.notebook.name} can't be read: {error}") from error
        return [cell | {"source": "".join(cell["source"])} for cell in found]

    @cached_property
    def exercises(self) -> tuple[Exercise, ...]:
        """The notebook's exercises, in its order. Raises GraderError when a test follows no solution."""
        found, solution = [], ""
        for cell in self.cells:
            about = cell["metadata"].get("nbgrader", {})
            if about.get("solution"):
                solution = about["grade_id"]
            elif about.get("grade"):
                if not solution:
                    raise GraderError(f"{self.notebook.name}: the test {about['grade_id']} follows no solution cell.")
                found.append(Exercise(about["grade_id"], solution, float(about["points"])))
        return tuple(found)

    @property
    def points(self) -> float:
        """What the whole assignment is worth."""
        return LAB_POINTS + sum(exercise.points for exercise in self.exercises)


def load_assignment(name: str) -> Assignment:
    """Finds an assignment by its lab's name, as ``load_lab`` does.

    Raises:
        UsageError: there is no such lab, or no module goes with it.
    """
    lab = load_lab(name)
    number = lab.id[4:6]
    for module in sorted(MODULES.glob(f"{number}-*")):
        if (module / f"{module.name}.ipynb").is_file():
            return Assignment(lab, module)
    raise UsageError(f"{lab.short} has no notebook in modules/.", f"A folder modules/{number}-… with one in it.")


def assignments() -> list[Assignment]:
    """Every assignment that is here: the labs that have a module."""
    found = []
    for lab in labs():
        with contextlib.suppress(UsageError):
            found.append(load_assignment(lab))
    return found


def make_sources(root: Path) -> None:
    """Makes every ``source/lab-NN`` below ``root`` that is not current. Safe beside others that do the same.

    Raises:
        GraderError: a notebook can't be read, or the folder can't be written to.
    """
    for assignment in assignments():
        target = root / "source" / assignment.name
        wanted = _stamp(assignment)
        stamp = root / "source" / f".{assignment.name}"
        with contextlib.suppress(OSError):
            if stamp.read_text("utf-8") == wanted and target.is_dir():
                continue
        try:
            with _locked(root / "source"):
                _make_source(assignment, target)
                stamp.write_text(wanted, "utf-8")
        except OSError as error:
            raise GraderError(
                f"{target} can't be made: {error.strerror}.", "A folder that can be written to, with space left."
            ) from error


def _stamp(assignment: Assignment) -> str:
    """What a source was made from."""
    digest = hashlib.sha256(Path(__file__).read_bytes() + assignment.notebook.read_bytes())
    for path in sorted(assignment.lab.folder.rglob("*")):
        relative = path.relative_to(assignment.lab.folder)
        if path.is_file() and not {"models", "__pycache__", ".ipynb_checkpoints"} & set(relative.parts):
            digest.update(f"{relative}\0{path.stat().st_mode}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _make_source(assignment: Assignment, target: Path) -> None:
    """Writes the folder beside its place first: nobody meets half of it."""
    beside = Path(tempfile.mkdtemp(prefix=".making-", dir=target.parent))
    try:
        made = beside / target.name
        shutil.copytree(assignment.lab.folder, made / "labs" / assignment.lab.id, ignore=_LEFT_OUT)
        notebook = json.dumps(source_notebook(assignment), indent=1, ensure_ascii=False) + "\n"
        (made / assignment.notebook.name).write_text(notebook, "utf-8")
        if target.exists():
            target.rename(beside / "old")
        made.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def source_notebook(assignment: Assignment) -> dict[str, Any]:
    """The module's notebook as nbgrader's source: links from its new place, and the lab as a task at the end."""
    notebook: dict[str, Any] = json.loads(assignment.notebook.read_text("utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = _UP.sub(r"\1", "".join(cell["source"]))
    about = {
        "cell_type": "markdown",
        "grade": False,
        "grade_id": assignment.name,
        "locked": True,
        "points": LAB_POINTS,
        "schema_version": 3,
        "solution": False,
        "task": True,
    }
    text = (
        f"**{assignment.lab.title}**, the lab: {LAB_POINTS} points. They are given from outside, for what your files\n"
        f"in [`labs/{assignment.lab.id}`](labs/{assignment.lab.id}/README.md) do when they run. Hand in this notebook "
        "together with them."
    )
    task = {"cell_type": "markdown", "id": f"{assignment.name}-task", "metadata": {"nbgrader": about}, "source": text}
    notebook["cells"].append(task)
    return notebook


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
