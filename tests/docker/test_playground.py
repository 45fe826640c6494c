"""``make up-01 RUNTIME=docker``, ``make status``, ``make down``: on the standard ports, and gone again."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from pods.places import standard_ports
from pods.programs import eventually

from autograder import playground
from autograder.lab import ROOT, SOLUTIONS, load_lab
from autograder.pods import Limits, Program
from autograder.pods.docker.engine import Engine, of_pod
from autograder.pods.docker.open import OpenPod
from autograder.pods.docker.runtime import DockerRuntime
from autograder.ports import holder

LAB = load_lab("lab-01")
STATE = playground.PODS / LAB.id
URL = "http://127.0.0.1:8501/v1/models/digits"


def make(*words: str) -> tuple[int, str]:
    argv = ["make", "--no-print-directory", *words]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def containers(engine: Engine) -> list[Any]:
    return of_pod(engine, STATE / "lock")[0]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Path]:
    """A student's folder with a server to start and no training, and the standard ports for this test alone."""
    with standard_ports():
        for path in (SOLUTIONS / LAB.id).iterdir():
            if path.suffix in (".sh", ".config"):
                shutil.copy(path, tmp_path)
        try:
            yield tmp_path
        finally:
            make("down")


def test_up_status_and_down(lab: Path, engine: Engine) -> None:
    code, said = make("up-01", "RUNTIME=docker", f"SUBMISSION={lab}")
    assert code == 0, said
    assert f"lab-01-serving is up (docker), with the files of {lab}" in said
    with urllib.request.urlopen(URL) as answer:
        assert json.load(answer)["model_version_status"][0]["state"] == "AVAILABLE"
    socket.create_connection(("127.0.0.1", 8500)).close()
    bound = [b for box in containers(engine) for ports in box.ports.values() for b in ports or ()]
    assert {b["HostIp"] for b in bound} == {"127.0.0.1"}
    assert {b["HostPort"] for b in bound} == {"8500", "8501"}
    assert (lab / "models/digits/1/saved_model.pb").stat().st_uid == os.getuid()

    count = len(containers(engine))
    code, said = make("up-01", "RUNTIME=docker", f"SUBMISSION={lab}")
    assert code == 0, said
    assert "lab-01-serving is already up." in said
    assert len(containers(engine)) == count
    assert "is up (docker)" in make("status")[1]

    assert make("down") == (0, "lab-01-serving is down.\n")
    assert containers(engine) == []
    assert (holder(8500), holder(8501)) == (None, None)
    assert not STATE.exists()
    assert "Nothing is up." in make("status")[1]


def test_auto_is_docker_where_an_engine_answers_and_programs_where_none_does(
    lab: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = make("up-01", f"SUBMISSION={lab}")
    assert code == 0, said
    assert "lab-01-serving is up (docker)" in said
    assert len(containers(engine)) >= 2
    assert make("down")[0] == 0
    assert containers(engine) == []

    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    code, said = make("up-01", f"SUBMISSION={lab}")
    assert code == 0, said
    assert "lab-01-serving is up (local)" in said
    assert "Docker" not in said
    with urllib.request.urlopen(URL) as answer:
        assert json.load(answer)["model_version_status"][0]["state"] == "AVAILABLE"
    assert make("down") == (0, "lab-01-serving is down.\n")


def test_a_port_that_is_taken_is_named_with_its_holder(lab: Path, engine: Engine) -> None:
    with socket.create_server(("127.0.0.1", 8501)):
        code, said = make("up-01", "RUNTIME=docker", f"SUBMISSION={lab}")
    assert code != 0
    assert "Port 8501 is taken by" in said
    assert f"pid {os.getpid()}" in said
    assert containers(engine) == []


def test_what_a_killed_keeper_left_is_removed_by_down(lab: Path, engine: Engine) -> None:
    code, said = make("up-01", "RUNTIME=docker", f"SUBMISSION={lab}")
    assert code == 0, said
    pid = playground.keeper(STATE)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: not psutil.pid_exists(pid))
    assert containers(engine)
    assert "`make down` removes them" in make("status")[1]
    assert make("down")[0] == 0
    assert containers(engine) == []
    assert not STATE.exists()


def test_without_the_images_or_the_engine_nothing_is_started(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    code, said = make("up-01", "RUNTIME=docker", f"SUBMISSION={lab}")
    assert code != 0
    assert "The Docker engine does not answer" in said
    assert not STATE.exists()


def test_a_server_on_localhost_alone_is_reached_all_the_same(runtime: DockerRuntime, tmp_path: Path) -> None:
    """Docker publishes what listens on all addresses; in a terminal and in a graded pod 127.0.0.1 is enough."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    lock = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    code = (
        "import http.server, sys\n"
        "http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()"
    )
    (tmp_path / "work").mkdir()
    (tmp_path / "work/hello").write_text("from the student's own folder")
    elsewhere = {"/submission": tmp_path / "work"}
    with OpenPod(runtime.engine, runtime.images, tmp_path / "lock", tmp_path / "pod", elsewhere, [port]) as pod:
        running = pod.start(Program(("python", "-c", code, str(port)), limits=Limits(seconds=None)))

        def look() -> bool:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/hello") as answer:
                    return bool(answer.read() == b"from the student's own folder")
            except OSError:
                return False

        assert eventually(look), running.log()
        finished = pod.run(Program(("sh", "-c", "echo made >made; id -u"), limits=Limits(seconds=30)))
        assert finished.stdout.decode().split() == [str(os.getuid())]
        assert (tmp_path / "work/made").read_text() == "made\n"
    assert of_pod(runtime.engine, tmp_path / "lock") == ([], [])
    os.close(lock)
