"""``autograder.model_server`` and the rest with containers: as without, and gone with the program that started them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pods.containers import containers_of
from pods.places import standard_ports

from autograder.checking.digits import nearest_centroid
from autograder.pods.docker.engine import Engine
from autograder.ports import holder

BEGINNING = """
import json, os, signal, sys, urllib.request
import autograder
from autograder.ports import holder

port, base = "--rest_api_port=8501", f"--model_base_path={os.getcwd()}/models/zero"

def start(*flags, **more):
    return autograder.model_server(*flags, "--model_name=zero", **more)
"""
TRIED = """
found = {}
first = start(port, base + "/1", until="No versions")
found["a wrong folder"] = first.alive, first.log("No versions", last=1)[27:]
second = start("--rest_api_port", "8501", base, until="gRPC ModelServer")
found["the first makes room"] = first.alive, second.alive, second.url
found["a flag in two words"] = second.log("unknown"), holder(8501) is None
third = start(port, base, env={"TF_CPP_MIN_LOG_LEVEL": "0"})
states = json.load(urllib.request.urlopen(third.url + "/v1/models/zero"))["model_version_status"]
found["a right one"] = states[0]["state"], third.wait_log("Successfully loaded")[27:], repr(third)
third.stop()
found["stopped"] = third.alive, repr(third), holder(8500) is None, holder(8501) is None
wrong = start(port, "--nonsense")
found["a wrong flag"] = wrong.alive, repr(wrong), wrong.log("nonsense")
again = start(port, "--model_config_file=models.config")
found["a relative path"] = again.alive, again.wait_log("Successfully loaded")[27:]
print(json.dumps([again.runtime, found]))
"""


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Path]:
    """A folder with a model in it, and the standard ports for this test alone."""
    with standard_ports():
        (tmp_path / "work").mkdir()
        (tmp_path / "tmp").mkdir()
        nearest_centroid().save(tmp_path / "work/models/zero/1")
        entry = f'config {{ name: "zero" base_path: "{tmp_path}/work/models/zero" model_platform: "tensorflow" }}'
        (tmp_path / "work/models.config").write_text(f"model_config_list {{ {entry} }}")
        yield tmp_path / "work"


def script(work: Path, runtime: str, code: str) -> subprocess.CompletedProcess[str]:
    """Runs a program that uses the course, to its end, however that comes."""
    return subprocess.run(
        [sys.executable, "-c", BEGINNING + code],
        cwd=work,
        env={**os.environ, "RUNTIME": runtime, "TMPDIR": str(work.parent / "tmp")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_model_server_behaves_alike_in_both_runtimes_and_ends_with_its_program(work: Path, engine: Engine) -> None:
    found = {}
    for runtime in ("local", "docker"):
        ended = script(work, runtime, TRIED)
        assert (ended.returncode, ended.stderr) == (0, "")
        ran, found[runtime] = json.loads(ended.stdout)
        assert ran == runtime
        assert containers_of(engine, work.parent) == []
        assert (holder(8500), holder(8501)) == (None, None)
        assert not list((work.parent / "tmp").iterdir())
    assert found["docker"] == found["local"]
    assert found["docker"]["a right one"][0] == "AVAILABLE"
    assert found["docker"]["a flag in two words"] == ["unknown argument: --rest_api_port", True]
    assert found["docker"]["stopped"][:2] == [False, "a model server that ended with exit code 0"]


@pytest.mark.parametrize("then", ["start(port, base)", "autograder.down()", "autograder.up('lab-02', 'lab')"])
def test_what_a_killed_notebook_left_is_not_in_the_way(work: Path, engine: Engine, then: str) -> None:
    killed = script(work, "docker", "start(port, base)\nos.kill(os.getpid(), signal.SIGKILL)")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = {box.id for box in containers_of(engine, work.parent)}
    assert len(left) == 2
    ended = script(work, "local", "autograder.down()")  # whoever wants no Docker has no business with its engine
    assert ended.stdout == "Nothing was up.\n", ended.stderr
    assert {box.id for box in containers_of(engine, work.parent)} == left
    (work / "lab").mkdir()
    (work / "lab/notes.txt").write_text("nothing written yet")
    code = f"try:\n    {then}\n    print('done')\nfinally:\n    autograder.down()"
    ended = script(work, "auto", code)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "done" in ended.stdout
    assert containers_of(engine, work.parent) == []


def test_a_lab_can_be_checked_in_a_container_by_name(work: Path) -> None:
    code = "report = autograder.check('lab-01', visible=True, runtime='docker')\nprint(report.runtime, report.graded)"
    ended = script(work, "local", code)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.endswith("docker True\n")
