"""nbgrader's configuration: its own commands work from this folder, on a fresh clone too.

    .venv/bin/nbgrader generate_assignment lab-01
    .venv/bin/nbgrader autograde lab-01
    .venv/bin/nbgrader generate_feedback lab-01
    .venv/bin/nbgrader export

Reading this file makes `source/lab-01` (from `modules/` and `labs/`, when these have changed), and puts the
environment's commands on PATH, because nbgrader calls one of them by its name.
"""

from pathlib import Path

from autograder.classroom.assignment import make_sources
from autograder.classroom.gradebook import configure, with_programs

c = get_config()  # type: ignore[name-defined]  # noqa: F821  # traitlets gives it to this file
configure(c, Path(__file__).resolve().parent)
with_programs()
make_sources(Path(__file__).resolve().parent)
