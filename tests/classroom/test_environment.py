"""`environment.yml` says what the lock file says."""

from __future__ import annotations

import re

import yaml

from autograder.classroom.environment import LOCK, TARGET, environment, main
from autograder.lab import ROOT


def pip_part() -> list[str]:
    parts = yaml.safe_load(TARGET.read_text("utf-8"))["dependencies"]
    (pip,) = [part["pip"] for part in parts if isinstance(part, dict)]
    return list(pip)


def test_it_is_current() -> None:
    assert main(["--check"]) == 0


def test_it_pins_every_package_of_the_lock_and_the_course_itself() -> None:
    pins = re.findall(r"^([A-Za-z0-9._-]+==[^\s;]+)", LOCK.read_text("utf-8"), re.MULTILINE)
    assert len(pins) > 150
    *packages, course = pip_part()
    assert [package.partition(" ")[0] for package in packages] == pins
    assert course == "--editable ."


def test_markers_come_along() -> None:
    text = 'one==1.0 ; sys_platform == "win32" \\\n    --hash=sha256:aa\ntwo==2.0 \\\n    --hash=sha256:bb\n'
    made = yaml.safe_load(environment(text.replace('"win32"', "'win32'")))
    assert made["dependencies"][-1]["pip"] == ["one==1.0 ; sys_platform == 'win32'", "two==2.0", "--editable ."]


def test_its_python_is_one_that_the_course_takes() -> None:
    (python,) = re.findall(r"python=(\d+\.\d+)", TARGET.read_text("utf-8"))
    assert python in ("3.11", "3.12", "3.13")
    assert 'requires-python = ">=3.11,<3.14"' in (ROOT / "pyproject.toml").read_text("utf-8")
