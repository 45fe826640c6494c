"""Lives and deaths: of graders, of containers, of the engine."""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pods.containers import containers_of
from pods.places import PLACES
from pods.programs import eventually, printed
from pydantic import TypeAdapter

from autograder.errors import MachineError
from autograder.grading import Silent, grade
from autograder.lab import SOLUTIONS, load_lab
from autograder.pods import Limits, Program, choose
from autograder.pods.docker.engine import Engine, connect, sweep
from autograder.pods.docker.talk import Ask, Start
from autograder.report import Result, Verdict

LAB = load_lab("lab-01")
REFERENCE = SOLUTIONS / LAB.id
DOCKER = next(place for place in PLACES if place.docker)


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's pods have their folders, by which their containers are told from others'."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


class Once(Silent):
    """Does something when the first check has its verdict."""

    def __init__(self, do: object) -> None:
        self._do = do
        self.seen: list[Result] = []

    def finished(self, result: Result) -> None:
        self.seen.append(result)
        if len(self.seen) == 1:
            self._do()  # type: ignore[operator]


def test_nothing_is_left_of_a_pod(engine: Engine) -> None:
    with DOCKER.grader() as grader:
        grader.pod.start(Program(("sleep", "600"), service="python"))
        assert eventually(lambda: len(containers_of(engine, grader.temporary)) == 3)
    assert containers_of(engine, grader.temporary) == []
    assert not [v for v in engine.client.volumes.list() if str(grader.temporary) in str(v.attrs["Labels"])]


def test_a_killed_grader_is_cleaned_up_after_and_a_living_one_is_left_alone(engine: Engine) -> None:
    with DOCKER.grader() as living, DOCKER.grader() as killed:
        assert printed(killed.pod, "print('fine')") == "fine"
        killed.process.send_signal(signal.SIGKILL)
        killed.process.wait()
        assert containers_of(engine, killed.temporary)
        assert sweep(engine) > 0
        assert containers_of(engine, killed.temporary) == []
        assert not [v for v in engine.client.volumes.list() if str(killed.temporary) in str(v.attrs["Labels"])]
        assert printed(living.pod, "print('fine')") == "fine"


def test_two_runs_side_by_side_get_their_own_grades(engine: Engine) -> None:
    with ThreadPoolExecutor(2) as executor:
        folders = (REFERENCE, LAB.folder)
        good, empty = executor.map(lambda folder: grade(LAB, folder, runtime="docker"), folders)
    assert (good.score, empty.score) == (100, 0)


def test_a_container_that_is_lost_in_the_middle_costs_no_points(engine: Engine, own_folder: Path) -> None:
    class Lose(Silent):
        lost = False

        def finished(self, result: Result) -> None:
            if not self.lost and result.check == "lab-01/publish":  # so the container for student programs runs
                for box in containers_of(engine, own_folder):
                    if ".agent" in str(box.attrs["Config"]["Cmd"]):
                        box.kill()
                        self.lost = True

    log: list[str] = []
    report = grade(LAB, REFERENCE, runtime="docker", progress=(losing := Lose()), log=log)
    assert losing.lost
    assert log
    assert report.count(Verdict.FAILED) == report.count(Verdict.BLOCKED) == 0
    assert (report.score, report.graded) == (100, True)  # the second attempt's


@contextlib.contextmanager
def fragile_engine(folder: Path) -> Iterator[tuple[str, threading.Event]]:
    """The address of an engine, and what makes it fall silent: a go-between that hangs up on everyone."""
    end = threading.Event()
    pairs: list[socket.socket] = []
    real = connect().client.api.base_url.removeprefix("http+docker://")
    upstream = "/var/run/docker.sock" if real.startswith("local") else real

    def carry(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not end.is_set() and (chunk := source.recv(1 << 16)):
                target.sendall(chunk)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def listen(server: socket.socket) -> None:
        while not end.is_set():
            if server not in select.select([server], [], [], 0.05)[0]:
                continue
            client, _ = server.accept()
            behind = socket.socket(socket.AF_UNIX)
            behind.connect(upstream)
            pairs.extend((client, behind))
            for ends in ((client, behind), (behind, client)):
                threading.Thread(target=carry, args=ends, daemon=True).start()
        server.close()
        (folder / "engine.sock").unlink()
        for each in pairs:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    server = socket.socket(socket.AF_UNIX)
    server.bind(str(folder / "engine.sock"))
    server.listen(64)
    thread = threading.Thread(target=listen, args=(server,), daemon=True)
    thread.start()
    try:
        yield f"unix://{folder}/engine.sock", end
    finally:
        end.set()
        thread.join()


def test_an_engine_that_dies_in_the_middle_costs_no_points(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    with fragile_engine(own_folder) as (address, end):
        monkeypatch.setenv("DOCKER_HOST", address)
        log: list[str] = []
        progress = Once(end.set)
        report = grade(LAB, REFERENCE, runtime="docker", progress=progress, log=log)
    monkeypatch.delenv("DOCKER_HOST")
    assert not report.graded
    assert report.count(Verdict.FAILED) == report.count(Verdict.BLOCKED) == 0
    assert report.count(Verdict.ERROR) > 0
    assert any("Docker failed" in entry for entry in log)
    assert containers_of(engine, own_folder)
    sweep(engine)
    assert containers_of(engine, own_folder) == []


def test_a_service_has_no_deadline_unless_it_is_given_one() -> None:
    for seconds in (None, 5.0):
        start = Start(
            id=1,
            service="python",
            argv=("true",),
            env={},
            cwd="/",
            limits=Limits(seconds=seconds),
            ours=False,
        )
        heard = TypeAdapter(Ask).validate_json(Ask(start=start).line())
        assert heard.start is not None
        assert heard.start.limits.seconds == seconds


def test_without_an_engine_docker_says_so_and_auto_goes_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(MachineError, match="does not answer"):
        choose("docker", LAB.services)
    assert choose("auto", LAB.services).name == "local"


def test_with_an_engine_and_its_images_auto_is_docker() -> None:
    assert choose("auto", LAB.services).name == "docker"


def test_an_engine_that_lacks_images_is_a_hint_and_no_obstacle() -> None:
    place = choose("auto", [*LAB.services, "grafana", "elasticsearch"])
    assert place.name == "local"
    said = place.versions["docker"]
    assert said == "the engine answers, but has no image for Grafana and Elasticsearch: run `make images`"


def test_a_missing_image_is_said_before_anything_runs() -> None:
    with pytest.raises(MachineError, match="no image for Grafana"):
        choose("docker", [*LAB.services, "grafana"])
