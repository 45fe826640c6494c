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
from autograder.ports import holder

EXECUTE = Path(__file__).with_name("execute.py")
LEFT_OUT = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "models", "*.egg-info")


@dataclass(frozen=True)
class Course:
    """A copy of what a notebook uses of the course, with a home and a folder for temporary files of its own."""

    root: Path
    home: Path
    temporary: Path

    def run(self, *argv: str | Path, cwd: Path | None = None, output: Path = Path(os.devnull)) -> int:
        """Runs a program of the environment with this copy's package, to its end; its output goes to a file."""
        built = walls()
        if not built.namespaces and (holder(8500) or holder(8501)):
            pytest.skip("port 8500 or 8501 is taken, and this machine has no network namespaces")
        variables = {
            "PYTHONPATH": self.root,
            "HOME": self.home,
            "TMPDIR": self.temporary,
            "JUPYTER_RUNTIME_DIR": self.home / "runtime",
            "IPYTHONDIR": self.home / "ipython",
            "PATH": "/usr/local/bin:/usr/bin:/bin",  # the environment's commands are found without it
        }
        shell = f'cd "$0" && exec "$@" >{output} 2>&1'
        program = ["env", *(f"{name}={value}" for name, value in variables.items())]
        program += ["sh", "-c", shell, str(cwd or self.root), *map(str, argv)]
        process, lifeline = enter(program, built)
        try:
            return process.wait()
        finally:
            os.close(lifeline)

    def execute(self, notebook: Path, *flags: str) -> NotebookNode:
        """Runs a notebook of this copy; gives it with its outputs."""
        target = self.home / f"{notebook.stem}-executed.ipynb"
        log = self.home / "execute.log"
        assert self.run(sys.executable, EXECUTE, notebook, target, *flags, output=log) == 0, log.read_text("utf-8")
        return nbformat.read(target, as_version=4)

    def files(self) -> dict[str, bytes]:
        """Every file of the copy and its content, but for what Python and Jupyter keep for themselves."""
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in self.root.rglob("*")
            if path.is_file() and not {"__pycache__", ".ipynb_checkpoints"} & set(path.parts)
        }


@pytest.fixture(scope="session")
def make_course(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Course]:
    def make() -> Course:
        top = tmp_path_factory.mktemp("course")
        course = Course(top / "course", top / "home", top / "tmp")
        course.home.mkdir()
        course.temporary.mkdir()
        for name in ("autograder", "labs", "modules"):
            shutil.copytree(ROOT / name, course.root / name, ignore=LEFT_OUT)
        return course

    return make
