"""Makes the starters in ``labs/`` from the references in ``solutions/``, so that the two never drift apart.

In every file, what stands between ``### BEGIN SOLUTION`` and ``### END SOLUTION`` (at the start of a line, after any
indentation) becomes ``# YOUR CODE HERE``; in Python files also an exception that names the gap. After
``### BEGIN SOLUTION (silent)`` there is no exception: what is around the gap works without it.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from autograder.errors import GraderError
from autograder.lab import LABS, SOLUTIONS

REGION = re.compile(
    r"^(?P<indent>[ \t]*)### BEGIN SOLUTION(?P<how>[^\n]*)\n(?P<body>.*?)^[ \t]*### END SOLUTION[^\n]*\n",
    re.MULTILINE | re.DOTALL,
)
LEFT_OUT = ("models", "__pycache__", ".ipynb_checkpoints")


def starter(text: str, name: str) -> str:
    """The text of a starter's file. Raises GraderError when its markers don't pair."""

    def gap(match: re.Match[str]) -> str:
        if "BEGIN SOLUTION" in match["body"]:
            raise GraderError(f"{name}: a BEGIN SOLUTION stands inside another.")
        indent = match["indent"]
        lines = [f"{indent}# YOUR CODE HERE\n"]
        if name.endswith(".py") and match["how"].strip() != "(silent)":
            lines.append(f'{indent}raise NotImplementedError("{name}: a part is still to be written")\n')
        return "".join(lines)

    made = REGION.sub(gap, text)
    if re.search(r"### (BEGIN|END) SOLUTION", made):
        raise GraderError(f"{name}: a solution marker has no partner.")
    return made


def write_starter(solution: Path, lab: Path) -> None:
    """Writes the whole starter folder anew."""
    for path in sorted(solution.rglob("*")):
        relative = path.relative_to(solution)
        if not path.is_file() or set(relative.parts) & set(LEFT_OUT):
            continue
        target = lab / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(starter(path.read_text("utf-8"), relative.name), "utf-8")
        target.chmod(path.stat().st_mode & 0o777)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a starter by its name; what a student's own runs leave is not part of it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not set(path.relative_to(folder).parts) & set(LEFT_OUT)
    }


def make_starters(*, check: bool) -> int:
    """Makes every lab's starter; with ``check`` only says which ones are not current."""
    stale = []
    for solution in sorted(SOLUTIONS.glob("lab-*")):
        with tempfile.TemporaryDirectory() as made:
            write_starter(solution, Path(made))
            lab = LABS / solution.name
            if lab.is_dir() and contents(Path(made)) == contents(lab):
                continue
            stale.append(solution.name)
            if not check:
                shutil.rmtree(lab, ignore_errors=True)
                write_starter(solution, lab)  # not a copy of `made`: a temporary folder is its owner's alone
                print(f"made labs/{lab.name}")
    if check and stale:
        print(f"not current: {', '.join(stale)}; `make labs` makes them anew")
    return 1 if check and stale else 0
