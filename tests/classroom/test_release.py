"""What students get: nothing of the instructor's in any byte of it, and everything that grading oneself needs."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import re
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from autograder.classroom import release as module
from autograder.classroom.assignment import Assignment, load_assignment
from autograder.classroom.faults import alternatives, load_faults
from autograder.classroom.release import hidden_checks, makefile, release
from autograder.errors import GraderError
from autograder.lab import LABS, ROOT, SOLUTIONS, labs, load_lab

CHECKS = ROOT / "autograder/checks/lab_01_serving"


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory, temporary: Path) -> Path:
    """The course folder of a release."""
    root = tmp_path_factory.mktemp("release")
    assert release(["lab-01"], root) == 0
    return root


def canaries(assignment: Assignment) -> set[bytes]:
    """Every line of what stays with the instructor, if it says something of its own that students' files don't."""
    hidden: list[str] = []
    for path in CHECKS.glob("*.py"):
        if hidden_checks(path):
            hidden += path.read_text("utf-8").splitlines()
    for folder in (SOLUTIONS / assignment.lab.id, *alternatives(assignment.lab)):
        for path in folder.rglob("*"):
            if path.is_file() and path.suffix in (".py", ".sh", ".config"):
                hidden += path.read_text("utf-8").splitlines()
    hidden += [fault.why for fault in load_faults(assignment.lab)]
    for cell in assignment.cells:
        for part in re.findall(r"### BEGIN (?:SOLUTION|HIDDEN TESTS)\n(.*?)### END", cell["source"], re.S):
            hidden += part.splitlines()
    given = "\n".join(
        path.read_text("utf-8", "replace")
        for folder in (LABS / assignment.lab.id, *(ROOT / "autograder" / name for name in module.machinery()))
        for path in folder.rglob("*")
        if path.is_file()
    )
    shown = module._needed(CHECKS, assignment.lab.checks)  # without hidden checks: another test sees to that
    given += "".join((CHECKS / f"{name}.py").read_text("utf-8") for name in shown)
    public = [*(ROOT / "autograder").glob("*.py"), *(ROOT / name for name in module.TOP)]
    given += "".join(path.read_text("utf-8") for path in public) + visible_text(assignment)
    found = {line.strip() for line in hidden if len(line.strip()) >= 24}
    return {line.encode() for line in found if line not in given}


def visible_text(assignment: Assignment) -> str:
    """What of the notebook is everybody's."""
    text = "\n".join(cell["source"] for cell in assignment.cells)
    return re.sub(r"### BEGIN (SOLUTION|HIDDEN TESTS)\n.*?### END", "", text, flags=re.S)


def every_byte(name: str, content: bytes, depth: int = 0) -> Iterator[tuple[str, bytes]]:
    """A file, and whatever is packed in it: archives, compressed objects, texts in a notebook."""
    yield name, content
    if depth > 4:
        return
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                yield from every_byte(f"{name}!{member}", archive.read(member), depth + 1)
    else:
        try:
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                for one in archive.getmembers():
                    stream = archive.extractfile(one) if one.isfile() else None
                    if stream is not None:
                        yield from every_byte(f"{name}!{one.name}", stream.read(), depth + 1)
        except tarfile.TarError:
            pass  # it is no archive
    if content[:2] in (b"\x78\x01", b"\x78\x9c", b"\x78\xda"):
        with contextlib.suppress(zlib.error):
            yield from every_byte(f"{name}!zlib", zlib.decompress(content), depth + 1)
    if name.endswith((".ipynb", ".json")):
        yield f"{name}!text", json.dumps(json.loads(content), ensure_ascii=False).replace('\\"', '"').encode()
        yield f"{name}!lines", "\n".join(texts(json.loads(content))).encode()


def texts(value: object) -> Iterator[str]:
    """Every text in a JSON value, keys and metadata included, and what of it is base64."""
    if isinstance(value, str):
        yield value
        if len(value) > 40 and re.fullmatch(r"[A-Za-z0-9+/=\s]+", value):
            try:
                yield base64.b64decode(value).decode("utf-8", "replace")
            except ValueError:
                return
    elif isinstance(value, list):
        if value and all(isinstance(one, str) for one in value):
            yield "".join(value)
        for one in value:
            yield from texts(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            yield str(key)
            yield from texts(one)


def leaks(folder: Path, wanted: set[bytes]) -> list[str]:
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            for name, content in every_byte(str(path.relative_to(folder)), path.read_bytes()):
                found += [f"{name}: {canary.decode()}" for canary in wanted if canary in content]
    return found


def test_no_byte_of_it_is_the_instructors(released: Path, assignment: Assignment) -> None:
    wanted = canaries(assignment)
    assert len(wanted) > 600
    assert leaks(released / "release", wanted) == []


def test_the_search_finds_what_is_planted_however_it_is_packed(tmp_path: Path, assignment: Assignment) -> None:
    """A canary in a text, in a notebook's metadata, in a zip in a zip, in a git object."""
    canary = b"a line that nobody but the instructor has"
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", canary)
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.zip", inner.getvalue())
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w:gz") as archive:
        one = tarfile.TarInfo("a")
        one.size = len(canary)
        archive.addfile(one, io.BytesIO(canary))
    metadata = {"metadata": {"kept": base64.b64encode(canary).decode()}, "cells": []}
    for name, content in {
        "plain.py": canary,
        "outer.zip": outer.getvalue(),
        "a.tar.gz": tar.getvalue(),
        "object": zlib.compress(canary),
        "n.ipynb": json.dumps(metadata).encode(),
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_bytes(content)
        assert leaks(folder, {canary}), name


def test_it_has_the_visible_checks_and_no_word_about_the_others(released: Path) -> None:
    folder = released / "release/lab-01"
    names = {path.name for path in (folder / "autograder/checks/lab_01_serving").iterdir()}
    needed = {f"{name}.py" for name in module._needed(CHECKS, "autograder.checks.lab_01_serving")}
    assert names == needed | {"__init__.py", "visible-only"}
    assert "faults.toml" not in names
    assert not (folder / "autograder/classroom").exists()
    assert not (folder / "solutions").exists()
    assert not (folder / ".git").exists()
    for path in (folder / "autograder").rglob("*.py"):
        assert hidden_checks(path) == []
    for line in (folder / "README.md").read_text("utf-8").splitlines():
        assert "{" not in line


def test_a_hidden_check_among_the_visible_ones_stops_the_release(
    tmp_path: Path, assignment: Assignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "VISIBLE", ("visible", "play", "fixtures", "answers"))
    with pytest.raises(GraderError, match="hidden checks"):
        module._copy_checks(assignment, tmp_path)


@pytest.mark.parametrize("lab", labs())
def test_no_visible_check_needs_a_module_with_hidden_ones(lab: str) -> None:
    source = ROOT / "autograder/checks" / lab.replace("-", "_")
    needed = module._needed(source, load_lab(lab).checks)
    assert {"visible", "fixtures"} <= needed
    for name in needed:
        assert hidden_checks(source / f"{name}.py") == []


def test_links_lead_somewhere(released: Path) -> None:
    folder = released / "release/lab-01"
    notebook = json.loads((folder / "01-serving.ipynb").read_text("utf-8"))
    text = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    pages = {folder: text + (folder / "README.md").read_text("utf-8")}
    module_folder = folder / "modules/01-serving"
    pages[module_folder] = (module_folder / "README.md").read_text("utf-8")
    link = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
    links = [(here, found) for here, page in pages.items() for found in link.findall(page)]
    assert len(links) > 3
    for here, found in links:
        assert "://" in found or (here / found.partition("#")[0]).exists(), found


def test_its_makefile_has_what_students_need(released: Path, assignment: Assignment) -> None:
    folder = released / "release/lab-01"
    listed = subprocess.run(["make"], cwd=folder, capture_output=True, text=True, check=True).stdout
    commands = {line.split()[0] for line in listed.splitlines()}
    assert {"setup", "lab-01", "up-01", "down", "notebook", "doctor", "hand-in"} <= commands
    assert not {"test", "prove-01", "labs", "lock", "release", "grade", "demo-class"} & commands
    assert "01-serving.ipynb" in makefile(assignment)
    assert "modules/" not in makefile(assignment)


@pytest.mark.timeout(600)
def test_make_lab_01_grades_the_visible_checks_within_it(released: Path, tmp_path: Path) -> None:
    """With an environment of its own, as a student has it: the instructor's course can't be imported in there."""
    folder = tmp_path / "student"
    with zipfile.ZipFile(released / "release/lab-01.zip") as archive:
        archive.extractall(tmp_path)
        for member in archive.infolist():
            (tmp_path / member.filename).chmod(member.external_attr >> 16)
    (tmp_path / "lab-01").rename(folder)
    environment(folder)
    for name in load_assignment("lab-01").lab.files:
        (folder / "labs/lab-01-serving" / name).write_bytes((SOLUTIONS / "lab-01-serving" / name).read_bytes())
    ended = subprocess.run(
        ["make", "lab-01", "OUT=out", "RUNTIME=local"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    results = json.loads((folder / "out/results.json").read_text("utf-8"))
    tests = {test["extra_data"]["check"]: test["extra_data"]["verdict"] for test in results["tests"]}
    assert len(tests) == 7
    assert set(tests.values()) == {"passed"}
    assert "of 28" in ended.stdout
    command = [".venv/bin/python", "-m", "autograder", "prove", "lab-01"]
    refused = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert refused.returncode == 2


def environment(folder: Path) -> None:
    """The course's environment again, at the student's place: its files as links, its own package the student's."""
    target = folder / ".venv"
    subprocess.run(["cp", "-al", str(ROOT / ".venv"), str(target)], check=True)
    (packages,) = target.glob("lib/python*/site-packages")
    for path in packages.glob("__editable__*.pth"):
        path.unlink()
        path.write_text(f"{folder}\n")
    script = target / "bin/tensorflow_model_server"
    text = script.read_text("utf-8").replace(str(ROOT), str(folder))
    script.unlink()
    script.write_text(text)
    script.chmod(0o755)
