"""A copy of the course in a network of its own, so that notebooks can use the standard ports at the same time.

With Docker there is no such network: the engine publishes ports on the machine's own. There a copy is used in the open,
and one notebook runs at a time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from pods.containers import containers_of
from pods.places import require_docker, standard_ports

from autograder.lab import ROOT
from autograder.pods import enter, walls
from autograder.pods.docker.engine import connect
from autograder.ports import holder

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
    runtime = "local"

    def run(self, *argv: str | Path, output: Path = Path(os.devnull)) -> int:
        """Runs a program of the environment to its end; its output goes to a file."""
        variables = {
            "HOME": self.home,
            "TMPDIR": self.temporary,
            "JUPYTER_RUNTIME_DIR": self.home / "runtime",
            "IPYTHONDIR": self.home / "ipython",
            "PATH": "/usr/local/bin:/usr/bin:/bin",  # the environment's commands are found without it
            "RUNTIME": self.runtime,  # no engine sees these folders, nor this network
        }
        program = ["env", *(f"{name}={value}" for name, value in variables.items())]
        script = f'{PUT_IN_PLACE}cd / && exec "$@" >"$0" 2>&1'
        program += ["sh", "-c", script, str(output), str(self.copy), str(ROOT), *map(str, argv)]
        process, lifeline = enter(program, walls())
        try:
            return process.wait()
        finally:
            os.close(lifeline)

    def notebook(self, module: str) -> Path:
        """A module's notebook, by the name that it has in a run."""
        return ROOT / f"modules/{module}/{module}.ipynb"

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


class OpenCourse(Course):
    """A copy of the course as it lies, on the machine's own network, with containers."""

    runtime = "docker"

    def run(self, *argv: str | Path, output: Path = Path(os.devnull)) -> int:
        variables = {
            **os.environ,
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "JUPYTER_RUNTIME_DIR": str(self.home / "runtime"),
            "IPYTHONDIR": str(self.home / "ipython"),
            "PYTHONPATH": str(self.copy),
            "RUNTIME": self.runtime,
        }
        with output.open("wb") as stream:
            process = subprocess.Popen(
                [*map(str, argv)], env=variables, cwd="/", stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
            )
            try:
                return process.wait()
            finally:
                process.terminate()

    def notebook(self, module: str) -> Path:
        return self.copy / f"modules/{module}/{module}.ipynb"


def _copied(kind: type[Course], top: Path) -> Course:
    course = kind(top / "course", top / "home", top / "tmp")
    for folder in (course.home, course.temporary, course.copy / ".venv"):
        folder.mkdir(parents=True)
    for name in USED:
        shutil.copytree(ROOT / name, course.copy / name, ignore=LEFT_OUT)
    # The program that runs notebooks is one of these tests; it is needed within, too.
    (course.copy / "tests/modules").mkdir(parents=True)
    shutil.copy(EXECUTE, course.copy / "tests/modules")
    shutil.copy(ROOT / "requirements.lock", course.copy)  # the images have their tags from it
    return course


@pytest.fixture(scope="session")
def make_course(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Course]:
    """Makes courses to run notebooks in, side by side with whatever else runs on this machine."""
    if os.getuid() != 0 or not walls().namespaces:
        pytest.skip("only root can lay a copy of the course over the course, and only where there are namespaces")

    return lambda: _copied(Course, tmp_path_factory.mktemp("course"))


@pytest.fixture(params=["local", "docker"])
def course(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Course]:
    """A course in each runtime; at the end of one with containers, none of them is left."""
    if request.param == "local":
        yield request.getfixturevalue("make_course")()
        return
    require_docker()
    with standard_ports():
        found = _copied(OpenCourse, tmp_path)
        yield found
        assert [box.labels for box in containers_of(connect(), tmp_path)] == []
        assert (holder(8500), holder(8501)) == (None, None)
