"""The house that the package is: a room imports from the floors below its own, never from above or from beside."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "autograder"
# From the ground up, as DESIGN.md draws them; the report's model is data, and lies where everybody can reach it.
FLOORS = (
    {"errors", "ports"},
    {"lab", "submission", "waiting", "report.model"},
    {"pods"},
    {"services"},
    {"checking", "schedule"},
    {"report", "checks"},
    {"display", "events", "grading", "job", "worker"},
    {"classroom", "playground"},
    {"cli", "notebook"},
)
TOGETHER = ({"display", "events", "grading", "job", "worker"}, {"checking", "schedule"}, {"classroom", "playground"})
ALONE = {"modelserver", "doctor"}  # programs of their own


def rooms() -> dict[str, int]:
    return {room: floor for floor, found in enumerate(FLOORS) for room in found}


def room_of(module: str) -> str:
    """The room that a module's name leads to: ``pods`` for ``autograder.pods.local``."""
    _, _, name = module.partition(".")
    first = name.partition(".")[0]
    return name if name in rooms() else first


def imports() -> Iterator[tuple[str, str, str]]:
    """(file, its room, the module of ours that it imports), wherever in the file the import stands."""
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE)
        if {"alternatives", "recipes"} & set(inside.parts):
            continue
        module = ".".join(("autograder", *inside.with_suffix("").parts)).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "autograder":
                names = [node.module] if node.module != "autograder" else [f"autograder.{n.name}" for n in node.names]
            elif isinstance(node, ast.Import):
                names = [name.name for name in node.names if name.name.startswith("autograder.")]
            else:
                continue
            for name in names:
                yield str(inside), room_of(module), name


def test_every_room_has_its_floor() -> None:
    found = {room_of(f"autograder.{path.stem}") for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert found - {"__init__", "__main__", "__pycache__"} == (rooms().keys() - {"report.model"}) | ALONE


def test_nobody_imports_from_above_or_from_beside() -> None:
    floor = rooms()
    wrong = []
    for file, room, module in imports():
        other = room_of(module)
        if room in ("", "__main__", other):  # the package itself opens its rooms when asked to
            continue
        if room in ALONE:
            allowed = room == "doctor" and other == "ports"
        else:
            allowed = other not in ALONE and (
                floor.get(other, 99) < floor[room] or any({room, other} <= beside for beside in TOGETHER)
            )
        if not allowed:
            wrong.append(f"{file} imports {module}")
    assert wrong == []


@pytest.mark.parametrize("module", ["autograder.grading", "autograder.cli"])
def test_what_starts_a_grade_imports_neither_pytest_nor_docker(module: str) -> None:
    code = f"import {module}, sys; print(*({{'pytest', 'docker', 'testcontainers', 'numpy'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_what_the_worker_begins_with_waits_for_neither_pydantic_nor_pytest() -> None:
    code = "import autograder.worker, autograder.checks.lab_01_serving.beginning, sys\n"
    code += "print(*({'pydantic', 'pytest', 'psutil', 'ssl', 'docker'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
