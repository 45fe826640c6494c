"""The grader as a program: what it writes, and how little it takes."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from .conftest import Ended


def test_all_three_reports_are_written(reference_run: Ended) -> None:
    assert {path.name for path in reference_run.out.iterdir()} == {"report.html", "results.json", "junit.xml"}


def test_a_report_says_what_isolation_it_had(reference_run: Ended) -> None:
    assert reference_run.results["extra_data"]["isolation"]


def test_help_comes_at_once() -> None:
    def seconds() -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "autograder", "--help"], check=True, capture_output=True)
        return time.perf_counter() - began

    assert min(seconds() for _ in range(5)) < 0.3


@pytest.mark.parametrize("lab", ["lab_01_serving", "lab_02_apis"])
@pytest.mark.parametrize("module", ["autograder.cli", "autograder.grading", "autograder.worker", "autograder.checks"])
def test_the_grader_never_imports_tensorflow(module: str, lab: str) -> None:
    code = (
        "import importlib, pkgutil, sys\n"
        "found = importlib.import_module(sys.argv[1])\n"
        "if hasattr(found, '__path__'):\n"
        "    for _, name, package in pkgutil.iter_modules([f'{p}/{sys.argv[2]}' for p in found.__path__]):\n"
        "        if not package: importlib.import_module(f'autograder.checks.{sys.argv[2]}.{name}')\n"
        "sys.exit(sorted({'tensorflow', 'keras', 'sklearn', 'tensorflow_serving'} & set(sys.modules)) or 0)"
    )
    argv = [sys.executable, "-P", "-c", code, module, lab]
    ended = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
