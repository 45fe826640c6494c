"""The first notebook as a reader meets it: JupyterLab in a real browser, run all cells, see the report."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from autograder.lab import ROOT

from .chromium import CHROMIUM
from .conftest import Course

DRIVER = Path(__file__).with_name("lab_in_browser.py")


@pytest.mark.timeout(900)
def test_run_all_cells_and_see_the_report(make_course: Callable[[], Course], tmp_path: Path) -> None:
    if not any(map(shutil.which, CHROMIUM)):
        pytest.skip("no chromium on this machine (apt-get install chromium)")
    course = make_course()
    for file in (DRIVER, DRIVER.with_name("chromium.py")):
        shutil.copy(file, course.copy / "tests/modules")
    out, log = course.home / "seen", course.home / "browser.log"
    out.mkdir()
    driver = ROOT / DRIVER.relative_to(ROOT)
    ended = course.run(sys.executable, driver, "modules/01-serving/01-serving.ipynb", out, output=log)
    assert ended == 0, log.read_text("utf-8")[-4000:]
    seen = json.loads((out / "seen.json").read_text("utf-8"))
    assert seen["sandbox"] == ""  # nothing in the report may run
    assert seen["width"] > 400
    assert seen["height"] > 300
    assert "of 100 points" in seen["page"]
    assert "Not fully graded" not in seen["page"]
    assert seen["errors"] == []
    assert len((out / "seen.png").read_bytes()) > 10_000
