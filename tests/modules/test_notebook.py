"""``autograder.up``, ``check`` and the rest, as a notebook, a script and a hub meet them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

import autograder
from autograder.notebook import Services

from .conftest import Course

SERVICES = Services(
    "lab-01-serving",
    "docker",
    Path("/home/me/lab"),
    {"status": "http://127.0.0.1:8501/v1/models/digits", "gRPC": "localhost:8500"},
)


def executed(course: Course, *cells: str, flags: tuple[str, ...] = ()) -> NotebookNode:
    path = course.home / "small.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), path)
    return course.execute(path, *flags)


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import autograder; print(*set(sys.modules) - before)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert found == ["autograder"]


def test_the_package_names_what_notebooks_use() -> None:
    assert {"check", "down", "model_server", "quiet", "up"} <= set(dir(autograder))
    with pytest.raises(AttributeError, match="no attribute 'grade_me'"):
        _ = autograder.grade_me  # type: ignore[attr-defined]


def test_services_say_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JUPYTERHUB_SERVICE_PREFIX", "CODESPACES"):
        monkeypatch.delenv(name, raising=False)
    assert SERVICES.url == "http://127.0.0.1:8501"
    assert "lab-01-serving is up (docker)" in repr(SERVICES)
    assert "http://127.0.0.1:8501/v1/models/digits" in repr(SERVICES)
    assert "(docker)" in SERVICES._repr_html_()
    assert 'href="http://127.0.0.1:8501/v1/models/digits"' in SERVICES._repr_html_()


@pytest.mark.parametrize(
    ("variable", "value", "link"),
    [
        ("JUPYTERHUB_SERVICE_PREFIX", "/user/me/", "/user/me/proxy/8501/v1/models/digits"),
        ("CODESPACES", "true", "/proxy/8501/v1/models/digits"),
    ],
)
def test_links_go_through_the_notebook_server_where_there_is_no_localhost(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, link: str
) -> None:
    for name in ("JUPYTERHUB_SERVICE_PREFIX", "CODESPACES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    assert f'href="{link}"' in SERVICES._repr_html_()
    assert link in repr(SERVICES)
    assert "<code>localhost:8500</code>" in SERVICES._repr_html_()
    assert SERVICES.url == "http://127.0.0.1:8501"  # programs run where the services do


@pytest.mark.timeout(300)
def test_a_mistake_is_told_without_a_stack_trace(make_course: Callable[[], Course]) -> None:
    notebook = executed(make_course(), "import autograder\nautograder.up('lab-99')", flags=("--go-on",))
    (shown,) = notebook.cells[0].outputs
    assert "There is no lab named “lab-99”." in shown.traceback[0]
    assert not any("Traceback" in line or ".py" in line for line in shown.traceback)


@pytest.mark.timeout(300)
def test_up_and_down_may_be_called_twice(make_course: Callable[[], Course]) -> None:
    course = make_course()
    (course.home / "lab").mkdir()
    (course.home / "lab/notes.txt").write_text("nothing written yet")
    notebook = executed(
        course,
        "import autograder, urllib.request as web\none = autograder.up('lab-01', 'lab')\none",
        "two = autograder.up('lab-01', 'lab')\nassert two == one",
        "web.urlopen(one.addresses['status of your model']).status",
        "autograder.down()\nautograder.down()",
    )
    said = "".join(output.text for output in notebook.cells[0].outputs if output.output_type == "stream")
    assert "course's own small model" in said
    assert "is up (" not in said  # the object says it
    assert notebook.cells[2].outputs[0].data["text/plain"] == "200"
    said = "".join(output.text for output in notebook.cells[3].outputs)
    assert said == "lab-01-serving is down.\nNothing was up.\n"
    assert not (course.copy / ".pods").exists()


@pytest.mark.timeout(300)
def test_a_model_server_ends_with_its_notebook_and_makes_room_for_the_next(make_course: Callable[[], Course]) -> None:
    course = make_course()
    flags = f"'--rest_api_port=8501', '--model_base_path={course.home}'"
    start = f"server = autograder.model_server({flags}, until='No versions')"
    notebook = executed(course, f"import autograder\n{start}", f"{start}\nserver", "server.stop()\nserver", start)
    assert notebook.cells[1].outputs[0].data["text/plain"] == "a model server at http://127.0.0.1:8501"
    assert "that ended with exit code" in notebook.cells[2].outputs[0].data["text/plain"]
    assert not {8500, 8501} & set(notebook.metadata["listening"])
    assert not list(course.temporary.iterdir())


@pytest.mark.timeout(300)
def test_in_a_terminal_check_prints_the_table(make_course: Callable[[], Course]) -> None:
    course = make_course()
    said = course.home / "said"
    code = "report = autograder.check('lab-01', visible=True); print(type(report).__name__, report.score)"
    assert course.run(sys.executable, "-c", f"import autograder; {code}", output=said) == 0
    text = said.read_text("utf-8")
    assert "Serving with TensorFlow Serving" in text
    assert text.endswith("Report 0\n")
