"""What becomes of a grade when the engine itself dies in the middle, and when it has nothing to run on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from own_engine import own_engine

from autograder.grading import Silent, grade
from autograder.lab import ROOT, SOLUTIONS, load_lab
from autograder.pods.docker.engine import connect
from autograder.report import Result, Verdict

LAB = load_lab("lab-01")
REFERENCE = SOLUTIONS / LAB.id
BRIDGES = Path("/sys/class/net")


class KillAtFirst(Silent):
    """Kills the engine when the first check has its verdict."""

    def __init__(self, kill: object) -> None:
        self._kill = kill
        self.seen: list[Result] = []

    def finished(self, result: Result) -> None:
        self.seen.append(result)
        if len(self.seen) == 1:
            self._kill()  # type: ignore[operator]


@pytest.mark.timeout(400)
def test_a_killed_engine_costs_no_points_and_the_next_run_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    bridges = set(BRIDGES.glob("*/bridge"))
    with own_engine(images=True) as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.address)
        log: list[str] = []
        report = grade(LAB, REFERENCE, runtime="docker", progress=KillAtFirst(engine.kill), log=log)
        assert not report.graded
        assert report.count(Verdict.FAILED) == report.count(Verdict.BLOCKED) == 0
        assert report.count(Verdict.ERROR) > 0
        assert any("Docker failed" in entry for entry in log)

        engine.start()
        client = connect().client
        assert client.containers.list(all=True)  # what the death left behind
        again = grade(LAB, LAB.folder, runtime="docker")
        assert (again.score, again.graded) == (0, True)
        assert client.containers.list(all=True) == []
        assert client.volumes.list() == []
    assert set(BRIDGES.glob("*/bridge")) >= bridges  # the machine's engine has lost nothing


@pytest.mark.timeout(200)
def test_an_engine_without_images_is_said_in_one_line_and_the_lab_runs_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with own_engine(images=False) as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.address)
        argv = [sys.executable, "-m", "autograder", "grade", "lab-01", str(LAB.folder), "--out", str(tmp_path)]
        done = subprocess.run([*argv, "--visible"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "runtime local" in said
    assert "Docker: the engine answers, but has no image for Python and TensorFlow Serving: run `make images`" in said
