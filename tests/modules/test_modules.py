"""Each module's notebook: runs as it is, is stored clean, and becomes an assignment that gives nothing away."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbgrader.validator import Validator
from pods.containers import started_below

from autograder.lab import ROOT
from autograder.pods.docker.engine import connect
from autograder.pods.images import find

from .conftest import Course

MODULES = sorted(path.parent.name for path in ROOT.glob("modules/*/*.ipynb") if path.stem == path.parent.name)
LIMIT = 180  # seconds for all cells of a notebook, as the curriculum promises
CALL = re.compile(r"autograder\.(?:model_server|up)\(")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")

pytestmark = pytest.mark.parametrize("module", MODULES)


def stored(module: str) -> NotebookNode:
    return nbformat.read(ROOT / "modules" / module / f"{module}.ipynb", as_version=4)


def graded(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade")]


def solutions(notebook: NotebookNode, name: str) -> list[str]:
    """The lines between the marks of a kind: SOLUTION, HIDDEN TESTS."""
    parts = re.findall(rf"### BEGIN {name}\n(.*?)\s*### END {name}", "\n".join(c.source for c in notebook.cells), re.S)
    return [line.strip() for part in parts for line in part.splitlines() if len(line.strip()) > 20]


def failures(executed: Path) -> list[str]:
    """What `nbgrader validate` says about a notebook that has been run: the cells that fail."""
    validator = Validator(preprocessors=[], ignore_checksums=True)
    return [cell["source"] for cell in validator.validate(str(executed)).get("failed", [])]


@pytest.fixture
def released(module: str, make_course: Callable[[], Course]) -> tuple[Course, Path]:
    """The notebook as students get it, made by nbgrader."""
    course = make_course()
    source = course.copy / "source/lab/notebook.ipynb"
    source.parent.mkdir(parents=True)
    shutil.copy(course.copy / f"modules/{module}/{module}.ipynb", source)
    log = course.home / "release.log"
    path = f"PATH={Path(sys.executable).parent}:/usr/bin:/bin"  # nbgrader looks for alembic there
    command = ["env", path, sys.executable, "-m", "nbgrader", "generate_assignment", "lab", "--create"]
    assert course.run(*command, f"--CourseDirectory.root={ROOT}", output=log) == 0, log.read_text("utf-8")
    shutil.copy(course.copy / "release/lab/notebook.ipynb", course.copy / f"modules/{module}/released.ipynb")
    return course, course.copy / f"modules/{module}/released.ipynb"


def test_it_has_the_size_and_the_parts_that_a_reader_can_take_in(module: str) -> None:
    notebook = stored(module)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert 30 <= len(notebook.cells) <= 50
    for part in ("## Take-away", "What experience adds", "## The lab", "Knowledge check", "```mermaid"):
        assert part in text
    assert (ROOT / "modules" / module / "README.md").is_file()


def test_it_is_stored_without_outputs(module: str) -> None:
    for cell in stored(module).cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None


def test_every_relative_link_leads_somewhere(module: str) -> None:
    folder = ROOT / "modules" / module
    texts = [cell.source for cell in stored(module).cells if cell.cell_type == "markdown"]
    links = [link for text in [*texts, (folder / "README.md").read_text("utf-8")] for link in LINK.findall(text)]
    assert links
    for link in links:
        assert "://" in link or (folder / link.partition("#")[0]).exists(), link


def test_the_files_that_it_writes_are_as_clean_as_its_cells(module: str) -> None:
    ruff = [Path(sys.executable).with_name("ruff"), "check", "--quiet", f"--config={ROOT / 'pyproject.toml'}"]
    for cell in stored(module).cells:
        first, _, rest = cell.source.partition("\n")
        if first.startswith("%%writefile"):  # ruff passes such a cell by
            name = first.removeprefix("%%writefile").strip()
            command = [*ruff, f"--stdin-filename={name}", "-"]
            found = subprocess.run(command, input=rest + "\n", capture_output=True, text=True, check=False)
            assert found.returncode == 0, found.stdout + found.stderr


def test_every_exercise_asks_for_work_and_tests_it(module: str) -> None:
    cells = [cell for cell in stored(module).cells if "nbgrader" in cell.metadata]
    assert len({cell.metadata.nbgrader.grade_id for cell in cells}) == len(cells)
    cells = [cell for cell in cells if cell.metadata.nbgrader.solution or cell.metadata.nbgrader.grade]
    for exercise, its_test in zip(cells[::2], cells[1::2], strict=True):
        assert its_test.metadata.nbgrader.grade_id == f"test-{exercise.metadata.nbgrader.grade_id}"
        assert "### BEGIN SOLUTION" in exercise.source
        assert "### BEGIN HIDDEN TESTS" in its_test.source
        assert its_test.metadata.nbgrader.points > 0


@pytest.mark.timeout(600)
def test_it_runs_from_top_to_bottom_in_time_and_leaves_nothing_behind(module: str, course: Course) -> None:
    before = course.files()
    with contextlib.ExitStack() as stack:
        started = None
        if course.runtime == "docker":
            engine = connect()
            started = stack.enter_context(started_below(engine, course.copy.parent))
            server = find(engine.client, engine.platform, ["tfserving"])["tfserving"].id
        notebook = course.execute(course.notebook(module))
    for cell in notebook.cells:
        if "raises-exception" not in cell.metadata.get("tags", []):
            for output in cell.get("outputs", []):
                assert output.output_type != "error", f"{cell.source}\n{output.evalue}"
                assert output.get("name") != "stderr", f"{cell.source}\n{output.text}"
    # On a machine that others keep busy, it may take as much longer.
    assert notebook.metadata["seconds"] < LIMIT * max(1, notebook.metadata["crowd"])

    # Its own solutions pass, as nbgrader sees it.
    assert sum(cell.metadata.nbgrader.points for cell in graded(notebook)) == 10
    assert failures(course.home / f"{module}-executed.ipynb") == []

    # The last cell shows the report, in a frame.
    (shown,) = notebook.cells[-1].outputs
    assert shown.data["text/html"].startswith("<iframe sandbox ")
    assert "&lt;!doctype html&gt;" in shown.data["text/html"]
    assert shown.data["text/plain"].endswith(" of 100 points")
    assert "Not fully graded" not in shown.data["text/html"]

    # Everything ran where it was meant to: what the first `up` says, what the report says, and the engine itself.
    (where,) = {found for cell in notebook.cells for found in re.findall(r"is up \((\w+)\)", str(cell.get("outputs")))}
    assert where == course.runtime
    assert f"&lt;dd&gt;{course.runtime}&lt;/dd&gt;" in shown.data["text/html"]
    if started is not None:
        calls = sum(len(CALL.findall(cell.source)) for cell in notebook.cells if cell.cell_type == "code")
        assert started.count(server) > calls > 0  # the report's are more

    assert course.files() == before
    assert not list(course.temporary.iterdir())
    if course.runtime == "local":  # in the machine's own network others listen, too
        assert notebook.metadata["listening"] == []


def test_what_is_released_holds_no_solution_and_no_hidden_test(module: str, released: tuple[Course, Path]) -> None:
    text = released[1].read_text("utf-8")
    assert "HIDDEN TESTS" not in text
    assert "BEGIN SOLUTION" not in text
    left = [
        line.strip() for cell in nbformat.read(released[1], as_version=4).cells for line in cell.source.splitlines()
    ]
    for name in ("SOLUTION", "HIDDEN TESTS"):
        lines = solutions(stored(module), name)
        assert lines
        assert [line for line in lines if line in left] == []


@pytest.mark.timeout(600)
def test_what_is_released_fails_where_there_is_work_to_do_and_nowhere_else(released: tuple[Course, Path]) -> None:
    course, notebook = released
    executed = course.execute(ROOT / notebook.relative_to(course.copy), "--go-on")
    tests = [cell.source.strip() for cell in graded(executed)]
    assert failures(course.home / "released-executed.ipynb") == tests
    failing = [
        cell.source.strip()
        for cell in executed.cells
        if any(output.output_type == "error" for output in cell.get("outputs", []))
    ]
    assert failing == tests
