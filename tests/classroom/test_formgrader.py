"""formgrader as an instructor meets it: in JupyterLab's server, in a real browser, after a class was graded."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from modules.chromium import CHROMIUM

from autograder.lab import ROOT
from autograder.pods import enter, walls

from .conftest import Room

DRIVER = Path(__file__).with_name("formgrader_in_browser.py")


@pytest.mark.timeout(600)
def test_it_lists_the_assignment_its_submissions_and_the_students_scores(room: Room, tmp_path: Path) -> None:
    if not any(map(shutil.which, CHROMIUM)):
        pytest.skip("no chromium on this machine (apt-get install chromium)")
    for name in ("mallory-ends", "mallory-patches"):
        room.add(name)
        room.pretend(name)
    ended = room.grade()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    shutil.copy(ROOT / "nbgrader_config.py", room.root)

    out, log = tmp_path / "out", tmp_path / "log"
    out.mkdir()
    with tempfile.TemporaryDirectory(dir="/tmp") as short:  # the browser has a socket in there
        look(room, Path(short), out, log)
    seen = json.loads((out / "seen.json").read_text("utf-8"))
    submissions = {row[0]: row[8] for row in seen["assignments"]}
    assert submissions == {"lab-01": "2", **dict.fromkeys(submissions.keys() - {"lab-01"}, "0")}
    scores = {row[1]: (row[3], row[4]) for row in seen["submissions"]}
    assert scores == {"mallory-ends": ("graded", "6 / 110"), "mallory-patches": ("graded", "0 / 110")}
    overall, exercises, _, lab = zip(*sorted(row[2:6] for row in seen["gradebook"]), strict=True)
    assert (overall, exercises, lab) == (("0 / 110", "6 / 110"), ("0 / 10", "6 / 10"), ("0 / 100", "0 / 100"))
    for name in seen:
        assert len((out / f"{name}.png").read_bytes()) > 10_000


def look(room: Room, temporary: Path, out: Path, log: Path) -> None:
    """Has the driver write into ``out`` what formgrader shows."""
    variables = {
        "HOME": out,
        "TMPDIR": temporary,
        "JUPYTER_RUNTIME_DIR": out / "runtime",
        "IPYTHONDIR": out / "ipython",
    }
    variables |= {"PYTHONPATH": ROOT / "tests/modules", "PATH": "/usr/local/bin:/usr/bin:/bin"}
    argv = ["env", *(f"{name}={value}" for name, value in variables.items()), "sh", "-c", 'exec "$@" >"$0" 2>&1', log]
    argv += [sys.executable, DRIVER, room.root, room.assignment.name, room.assignment.notebook_name, out]
    process, lifeline = enter([str(word) for word in argv], walls())
    try:
        assert process.wait() == 0, log.read_text("utf-8")[-4000:]
    finally:
        os.close(lifeline)
