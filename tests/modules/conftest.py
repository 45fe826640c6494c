"""A copy of the course in a network of its own, so that notebooks can use the standard ports at the same time."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from autograder.lab import ROOT
from autograder.pods import enter, walls

EXECUTE = Path(__file__).with_name("execute.py")
USED = ("autograder", "labs", "modules")
LEFT_OUT = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "models")
# In the mount namespace of a run the copy lies at the course's own place, with the real environment in it.
PUT_IN_PLACE = 'mount --bind "$2/.venv" "$1/.venv" && mount --rbind "$1" "$2" && shift 2 && '


@dataclass(frozen=True)
class Course:
    """The course as a run sees it: a copy, at the course's own place, with a home and temporary files of its own.

    Attributes:
        copy: where its files lie for everybody else.
        home: the home of who runs it.
        temporary: its folder for temporary files.
    """

    copy: Path
    home: Path
    temporary: Path

    def run(self, *argv: str | Path, output: Path = Path(os.devnull)) -> int:
        """Runs a program of the environment to its end; its output goes to a file."""
        variables = {
            "HOME": self.home,
            "TMPDIR": self.temporary,
            "JUPYTER_RUNTIME_DIR": self.home / "runtime",
            "IPYTHONDIR": self.home / "ipython",
            "PATH": "/usr/local/bin:/usr/bin:/bin",  # the environment's commands are found without it
        }
        program = ["env", *(f"{name}={value}" for name, value in variables.items())]
        script = f'{PUT_IN_PLACE}cd / && exec "$@" >"$0" 2>&1'
        program += ["sh", "-c", script, str(output), str(self.copy), str(ROOT), *map(str, argv)]
        process, lifeline = enter(program, walls())
        try:
            return process.wait()
        finally:
            os.close(lifeline)

    def execute(self, notebook: Path, *flags: str) -> NotebookNode:
        """Runs a notebook; gives it with its outputs."""
        target = self.home / f"{notebook.stem}-executed.ipynb"
        log = self.home / "execute.log"
        assert self.run(sys.executable, EXECUTE, notebook, target, *flags, output=log) == 0, log.read_text("utf-8")
        return nbformat.read(target, as_version=4)

    def files(self) -> dict[str, bytes]:
        """Every file of the copy and its content, but for what Python and Jupyter keep for themselves."""
        return {
            str(path.relative_to(self.copy)): path.read_bytes()
            for path in self.copy.rglob("*")
            if path.is_file() and not {"__pycache__", ".ipynb_checkpoints"} & set(path.parts)
        }


@pytest.fixture(scope="session")
def make_course(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Course]:
    """Makes courses to run notebooks in, side by side with whatever else runs on this machine."""
    if os.getuid() != 0 or not walls().namespaces:
        pytest.skip("only root can lay a copy of the course over the course, and only where there are namespaces")

    def make() -> Course:
        top = tmp_path_factory.mktemp("course")
        course = Course(top / "course", top / "home", top / "tmp")
        for folder in (course.home, course.temporary, course.copy / ".venv"):
            folder.mkdir(parents=True)
        for name in USED:
            shutil.copytree(ROOT / name, course.copy / name, ignore=LEFT_OUT)
        # The program that runs notebooks is one of these tests; it is needed within, too.
        (course.copy / "tests/modules").mkdir(parents=True)
        shutil.copy(EXECUTE, course.copy / "tests/modules")
        return course

    return make
