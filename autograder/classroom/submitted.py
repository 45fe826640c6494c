"""What a student has handed in for an assignment: their notebook's cells and their lab's folder, taken in with care.

Nothing in it is trusted: names, links, sizes, JSON. Nothing of it is run or parsed as Python here.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autograder.classroom.assignment import Assignment
from autograder.errors import MachineError, UsageError
from autograder.submission import IGNORED

MOST = 20 << 20  # bytes of a notebook
CELL = 200_000  # characters of one cell
CELLS = 500


@dataclass(frozen=True)
class HandedIn:
    """What one student has handed in.

    Attributes:
        student: the name of their folder in ``submitted/``.
        folder: ``submitted/STUDENT/lab-01``.
        lab: the folder with the lab's files; ``None`` when there is none.
        solutions: the cells in which they worked, by their ids.
        extra: the cells that they have added.
        problem: why their notebook can't be used, as a sentence; empty when it can.
    """

    student: str
    folder: Path
    lab: Path | None
    solutions: dict[str, str] = field(default_factory=dict)
    extra: tuple[str, ...] = ()
    problem: str = ""


def students(root: Path, assignment: Assignment) -> list[str]:
    """Everybody who has handed something in, by the names of their folders.

    Raises:
        UsageError: nobody has.
    """
    top = root / "submitted"
    found = sorted(path.parent.name for path in top.glob(f"*/{assignment.name}") if path.is_dir())
    if not found:
        raise UsageError(
            f"Nobody has handed in {assignment.name}: there is no folder submitted/*/{assignment.name}.",
            "A folder for each student, with their notebook and their lab's files in it.",
            "`nbgrader zip_collect` unpacks what a learning platform gives you; docs/instructors.md shows the layout.",
        )
    return found


def read_submission(root: Path, assignment: Assignment, student: str) -> HandedIn:
    """Looks at one student's folder. Raises MachineError when it may not be read."""
    folder = root / "submitted" / student / assignment.name
    lab = _lab_folder(folder, assignment)
    try:
        solutions, extra = _cells(_notebook(folder / assignment.notebook.name), assignment)
    except _Problem as problem:
        return HandedIn(student, folder, lab, problem=str(problem))
    return HandedIn(student, folder, lab, solutions, extra)


class _Problem(Exception):
    """Why a notebook can't be used."""


def _notebook(path: Path) -> Any:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise _Problem(f"The notebook {path.name} was not handed in.") from None
    except PermissionError as error:
        raise MachineError(f"{path} may not be read.", "", f"Try `chmod -R u+rX {path.parent}`.") from error
    except OSError:
        raise _Problem(f"{path.name} is not a file.") from None
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _Problem(f"{path.name} is not a file.")
        content = stream.read(MOST + 1)
    if len(content) > MOST:
        raise _Problem(f"{path.name} is larger than {MOST >> 20} MiB.")
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise _Problem(f"{path.name} is not a notebook: it is not JSON.") from None


def _cells(notebook: Any, assignment: Assignment) -> tuple[dict[str, str], tuple[str, ...]]:
    """The student's solutions by id (of several with the same id the last, as nbgrader has it), and their own cells."""
    ours = {cell.get("id") for cell in assignment.cells}
    known = {exercise.test for exercise in assignment.exercises}
    wanted = {
        cell["metadata"]["nbgrader"]["grade_id"]
        for cell in assignment.cells
        if cell["metadata"].get("nbgrader", {}).get("solution")
    }
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise _Problem("The notebook has no cells.")
    solutions: dict[str, str] = {}
    extra: list[str] = []
    for cell in cells[:CELLS]:
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        name, source = _name(cell), _source(cell)
        if name in wanted:
            solutions[name] = source
        elif name not in known and cell.get("id") not in ours and source.strip():
            extra.append(source)
    return solutions, tuple(extra)


def _name(cell: dict[str, Any]) -> str:
    metadata = cell.get("metadata")
    about = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    name = about.get("grade_id") if isinstance(about, dict) else None
    return name if isinstance(name, str) else ""


def _source(cell: dict[str, Any]) -> str:
    source = cell.get("source")
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    text = source if isinstance(source, str) else ""
    return text[:CELL].encode("utf-8", "replace").decode()


def _lab_folder(folder: Path, assignment: Assignment) -> Path | None:
    """Where the lab's files are: as released, or right beside the notebook. No link is followed on the way."""
    for way in (("labs", assignment.lab.id), (assignment.lab.id,), ()):
        here = folder
        for name in way:
            here = here / name
            if here.is_symlink():
                break
        else:
            if any((here / name).is_file() for name in assignment.lab.files):
                return here
    return None


def fingerprint(submission: HandedIn) -> str:
    """A hash of every file that was handed in; what programs and notebooks leave beside them does not count."""
    digest = hashlib.sha256()
    for path, name in _files(submission.folder):
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            digest.update(b"?")
            continue
        with os.fdopen(descriptor, "rb") as stream:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                digest.update(hashlib.file_digest(stream, "sha256").digest())
                digest.update(b"x" if os.fstat(descriptor).st_mode & 0o100 else b"-")
    return digest.hexdigest()


def _files(top: Path) -> Iterator[tuple[Path, str]]:
    """Every file by its path and its name below ``top``, in order."""
    for folder, folders, files in os.walk(top):
        folders[:] = sorted(set(folders) - IGNORED)
        for name in sorted(files):
            path = Path(folder) / name
            yield path, str(path.relative_to(top))
