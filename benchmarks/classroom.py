"""How fast a class is graded, against `nbgrader autograde` alone on the same notebooks.

    .venv/bin/python benchmarks/classroom.py [STUDENTS]

Both grade the same notebooks in this run, one after the other, as nbgrader does and as we do; then the same students
once more with their labs. nbgrader has its own configuration and runs the notebooks in the instructor's own kernels.
Run it on a machine that does nothing else, and on which nobody listens on the ports 8500 and 8501.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from autograder.classroom.assignment import load_assignment, make_sources
from autograder.classroom.batch import default_jobs
from autograder.lab import ROOT

sys.path.insert(0, str(ROOT))
from tests.classroom.demo import Student, write_student

PROGRAMS = Path(sys.executable).parent
ASSIGNMENT = load_assignment("lab-01")


def course(folder: Path, students: int, files: str) -> Path:
    """A course folder in which all students have handed in the reference."""
    make_sources(folder)
    for number in range(students):
        write_student(folder, ASSIGNMENT, f"student-{number:02}", Student("", files=files))
    return folder


def timed(*argv: str | Path, cwd: Path) -> float:
    """The wall time of a command. Raises when it fails."""
    path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    begin = time.perf_counter()
    ended = subprocess.run(
        [*map(str, argv)], cwd=cwd, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - begin
    if ended.returncode != 0:
        raise SystemExit(f"{argv[0]} ended with {ended.returncode}:\n{ended.stdout[-2000:]}{ended.stderr[-3000:]}")
    return seconds


def ours(folder: Path, jobs: int) -> float:
    return timed(
        *(sys.executable, "-P", "-m", "autograder", "class", "lab-01", "--root", folder, "-j", str(jobs)),
        *("--runtime", "local"),
        cwd=ROOT,
    )


def nbgraders(folder: Path) -> float:
    nbgrader = PROGRAMS / "nbgrader"
    timed(nbgrader, "generate_assignment", "lab-01", cwd=folder)
    return timed(nbgrader, "autograde", "lab-01", cwd=folder)


def main() -> None:
    students = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    jobs = default_jobs()
    print(f"{students} submissions, {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory() as top:
        alone = nbgraders(course(Path(top, "a"), students, ""))
        show("nbgrader autograde alone, notebooks", alone, alone, students)
        for what, number, files in (
            ("make grade J=1, notebooks", 1, ""),
            (f"make grade J={jobs}, notebooks", jobs, ""),
            (f"make grade J={jobs}, notebooks and labs", jobs, "reference"),
        ):
            show(what, ours(course(Path(top, what.replace(" ", "-")), students, files), number), alone, students)


def show(what: str, seconds: float, alone: float, students: int) -> None:
    ratio = seconds / alone
    print(f"{what:<42} {seconds / students:7.1f} s a submission   {ratio:5.2f} of nbgrader alone", flush=True)


if __name__ == "__main__":
    main()
