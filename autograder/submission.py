"""Takes a submission in: a copy of what is safe to copy, and a note about everything that is not.

Nothing in a submission is trusted: not its names, links, sizes or kinds of file. What is refused is left out with a
note, and costs no points by itself; what is fine is graded.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from autograder.errors import SubmissionError

MAX_FILE = 20 << 20
MAX_TOTAL = 100 << 20
MAX_FILES = 2_000
MAX_DEPTH = 20
MAX_PATH = 1_000
IGNORED = {".git", ".ipynb_checkpoints", "__pycache__", ".venv", "venv", "node_modules", ".DS_Store"}
IGNORED_ON_TOP = {"models", "reports"}  # what a lab's own programs write when they are tried by hand


@dataclass
class Intake:
    """What was taken in, and what was not.

    Attributes:
        files: the paths that were copied, relative to the submission, with ``/``.
        notes: one sentence for each thing that was left out.
        total: the bytes that were copied.
        entries: how many names were looked at, of whatever kind.
    """

    files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    total: int = 0
    entries: int = 0


def examine(folder: Path) -> None:
    """Says at once when a path can't be a submission at all. Raises SubmissionError."""
    try:
        str(folder).encode("utf-8")
        kind = folder.stat().st_mode
        if not stat.S_ISDIR(kind):
            raise SubmissionError(
                f"“{folder}” is a file.",
                "A submission is a folder.",
                f"Unpack it first: `unzip {folder.name}`, then name the folder." if folder.suffix == ".zip" else "",
            )
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if entry.name not in IGNORED]
        if not found:
            raise SubmissionError(f"The folder “{folder}” is empty.", "It holds the files that the lab asks for.")
        for entry in found:
            if entry.is_file(follow_symlinks=False) and not os.access(entry.path, os.R_OK):
                raise PermissionError
    except UnicodeEncodeError:
        raise SubmissionError(
            f"The name {str(folder)!a} is not UTF-8.", "A folder with a name that can be written.", "Rename it."
        ) from None
    except FileNotFoundError:
        raise SubmissionError(f"There is no folder “{folder}”.", "A path to a submission's folder.") from None
    except PermissionError:
        raise SubmissionError(
            f"The folder “{folder}”, or a file in it, can't be read.",
            "You may read what you want to grade.",
            f"Try `chmod -R u+rX {folder}`.",
        ) from None
    except OSError as error:
        raise SubmissionError(f"“{folder}” can't be opened: {error.strerror}.", "A path to a folder.") from None


def take_in(source: Path | int, target: Path, first: tuple[str, ...] = ()) -> Intake:
    """Copies a submission, following no link and trusting no name.

    Args:
        source: the student's folder, or a descriptor of it (which stays open).
        target: an existing, empty folder of ours.
        first: paths that are taken before all others, so that a limit hits the rest.

    Raises:
        SubmissionError: the folder itself can't be read.
    """
    intake = Intake()
    try:
        top = os.dup(source) if isinstance(source, int) else os.open(source, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise SubmissionError(f"The submission can't be read: {error.strerror}.") from error
    try:
        _take_folder(top, target, "", intake, set(first))
    finally:
        os.close(top)
    return intake


def fingerprint(folder: Path, names: tuple[str, ...]) -> str:
    """A hash of the named files and folders of a folder that was taken in; names that are not there count too."""
    digest = hashlib.sha256()
    for name in names:
        top = folder / name
        for path in [top, *sorted(path for path in top.rglob("*") if path.is_file())]:
            content = path.read_bytes() if path.is_file() else b""
            digest.update(f"{path.relative_to(folder).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _take_folder(source: int, target: Path, prefix: str, intake: Intake, first: set[str]) -> None:
    names = sorted(os.listdir(source), key=lambda name: (prefix + name not in first, name))
    for name in names:
        if name in IGNORED or (not prefix and name in IGNORED_ON_TOP):
            continue
        path = prefix + name
        problem = _name_problem(name)
        if problem:
            intake.notes.append(f"{path!a} was left out: {problem}.")
            continue
        if intake.entries >= MAX_FILES:
            if intake.entries == MAX_FILES:
                intake.notes.append(f"“{path}” and what follows was left out: more than {MAX_FILES:,} files.")
            intake.entries += 1
            return
        intake.entries += 1
        if len(os.fsencode(path)) > MAX_PATH:
            intake.notes.append(f"“{path[:100]}…” was left out: its name is too long.")
            continue
        try:
            kind = os.stat(name, dir_fd=source, follow_symlinks=False).st_mode
        except OSError as error:
            intake.notes.append(f"“{path}” was left out: {error.strerror}.")
            continue
        if stat.S_ISLNK(kind):
            _take_link(source, name, target, path, intake)
        elif stat.S_ISDIR(kind):
            _take_subfolder(source, name, target, path, intake, first)
        elif stat.S_ISREG(kind):
            _take_file(source, name, target / name, path, intake)
        else:
            intake.notes.append(f"“{path}” was left out: it is neither a file nor a folder.")


def _name_problem(name: str) -> str:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        return "its name has a control character"
    return "its name has a backslash" if "\\" in name else ""


def _take_subfolder(source: int, name: str, target: Path, path: str, intake: Intake, first: set[str]) -> None:
    if path.count("/") >= MAX_DEPTH:
        intake.notes.append(f"“{path}” was left out: more than {MAX_DEPTH} folders deep.")
        return
    try:
        folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=source)
    except OSError as error:
        intake.notes.append(f"“{path}” was left out: {error.strerror}.")
        return
    try:
        (target / name).mkdir(exist_ok=True)
        _take_folder(folder, target / name, path + "/", intake, first)
    finally:
        os.close(folder)


def _take_file(source: int, name: str, copy: Path, path: str, intake: Intake) -> None:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=source)
    except OSError as error:
        intake.notes.append(f"“{path}” was left out: {error.strerror}.")
        return
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            intake.notes.append(f"“{path}” was left out: it is not a file.")
            return
        content = stream.read(MAX_FILE + 1)
    if len(content) > MAX_FILE:
        intake.notes.append(f"“{path}” was left out: it is larger than {MAX_FILE >> 20} MiB.")
        return
    if intake.total + len(content) > MAX_TOTAL:
        intake.notes.append(f"“{path}” was left out: the submission is larger than {MAX_TOTAL >> 20} MiB.")
        return
    copy.write_bytes(content)
    copy.chmod(0o755 if status.st_mode & 0o111 else 0o644)
    intake.total += len(content)
    intake.files.append(path)


def _take_link(source: int, name: str, target: Path, path: str, intake: Intake) -> None:
    """A link to a file of the same folder becomes a copy of that file; every other link is left out."""
    goal = os.readlink(name, dir_fd=source)
    if "/" in goal or goal in (".", "..") or _name_problem(goal):
        intake.notes.append(f"“{path}” was left out: it is a link out of its folder.")
        return
    try:
        kind = os.stat(goal, dir_fd=source, follow_symlinks=False).st_mode
    except OSError:
        intake.notes.append(f"“{path}” was left out: it is a link to nothing.")
        return
    if not stat.S_ISREG(kind):
        intake.notes.append(f"“{path}” was left out: it is a link to something that is no file.")
        return
    _take_file(source, goal, target / name, path, intake)
