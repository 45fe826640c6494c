"""What the checks of lab 01 share: data, models, the student's programs, and two model servers.

The training run and both servers start side by side as soon as the first check does; a check waits for what it needs.
The student's server begins with models of ours, so nothing has to wait for the training but the checks about it.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autograder.checking.digits import read_digits
from autograder.checking.programs import Programs
from autograder.checking.shelf import Array, Model, Shelf, generator
from autograder.checks.lab_01_serving.materials import MODEL, SECOND, TRAINING_LIMITS, Digits
from autograder.errors import CheckFailed, GraderError
from autograder.pods import Finished, Pod
from autograder.schedule import Later
from autograder.services.http import ask
from autograder.services.savedmodel import Dense, random_dense
from autograder.services.tfserving import (
    ModelServer,
    start_model_server,
    start_student_server,
    version_of,
    wait_started,
)
from autograder.submission import Intake, take_in
from autograder.waiting import fail, polling

# Fixtures that take long to arrive: the checks that ask for them come late.
SLOW = frozenset({"trained", "export", "served_export"})
# Fixtures that a check has for itself, and what they have in common: it changes what others would see.
EXCLUSIVE = {"server": "the student's server", "spoilt_server": "the student's server"}

OURS = "model"  # on the course's own server
TOLERANCE = 1e-5


@pytest.fixture(scope="session")
def programs(pod: Pod, intake: Intake) -> Programs:
    return Programs(pod, intake)


@pytest.fixture(scope="session")
def digits(seed: int) -> Digits:
    rng = generator(seed, "digits")
    images, labels = read_digits()
    order = rng.permutation(len(images))
    images, labels = images[order], rng.permutation(10)[labels[order]]
    return Digits(images[:1400], labels[:1400], images[1400:], labels[1400:])


@pytest.fixture(scope="session")
def pixels(seed: int) -> Array:
    """Eight rows of random pixels, shape (8, 64)."""
    return generator(seed, "pixels").integers(0, 17, size=(8, 64)).astype(np.float32)


@pytest.fixture(scope="session")
def shelves(pod: Pod, seed: int) -> dict[str, Shelf]:
    """The two models of the student's server, with one version each to begin with."""
    found = {}
    for name in (MODEL, SECOND):
        rng = generator(seed, name)
        pod.outside(f"/models/{name}").mkdir()
        pod.grant(f"/models/{name}")
        found[name] = Shelf(pod, f"/models/{name}", rng, int(rng.integers(2, 40)))
        found[name].put()
    return found


@pytest.fixture(scope="session")
def side_by_side() -> Iterator[ThreadPoolExecutor]:
    executor = ThreadPoolExecutor(3)
    yield executor
    executor.shutdown(wait=False, cancel_futures=True)


class StudentServer:
    """The server of ``serve.sh``."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self._spoilt = False
        self.server: ModelServer | None = None

    def start(self) -> None:
        """Starts it, if there is a ``serve.sh``; comes back at once."""
        if "serve.sh" in self._programs.intake.files:
            self.server = start_student_server(self._programs.pod)

    def first(self) -> ModelServer:
        """The server that was started at the beginning, answering. Raises CheckFailed when it never does."""
        self._programs.require("serve.sh")
        assert self.server is not None
        wait_started(self.server, MODEL)
        return self.server

    def ready(self, *, spoil: bool = False) -> ModelServer:
        """A server that answers and that no check has spoilt: the same one while that is possible.

        Args:
            spoil: the caller will leave it with a version that it tries to load again and again.
        """
        if self.server is not None and (self._spoilt or not self.server.running.alive):
            self.server.running.kill()
            self.start()
        self._spoilt = spoil
        return self.first()


@dataclass(frozen=True)
class CourseServer:
    """The course's own server.

    Attributes:
        server: how to talk to it.
        shelf: the versions of its model ``OURS``, all served side by side.
        stranger: the name of a second model, which no student has ever seen.
        strange: that model.
    """

    server: ModelServer
    shelf: Shelf
    stranger: str
    strange: Dense

    def own_answer(self, version: int) -> Model:
        """What a version on this server answers, for comparing another server's answers with."""

        def answer(rows: Array) -> Array:
            said = self.server.ask(OURS, {"instances": rows.tolist()}, version=version)
            if said.status != 200:
                raise GraderError(f"The course's model server answered {said}.")
            return np.array(said.json["predictions"], dtype=np.float32)

        return answer

    def ready(self) -> CourseServer:
        """Waits until it answers. Raises GraderError: it has nothing to do with the student's work."""
        try:
            self.server.wait_available(OURS, min(self.shelf.models), seconds=60)
        except CheckFailed as error:
            raise GraderError(f"The course's model server did not start: {self.server.running.log()[-800:]}") from error
        return self


@dataclass(frozen=True)
class Started:
    """What was set going at the beginning."""

    student: StudentServer
    course: CourseServer
    training: Future[Finished | None]


@pytest.fixture(scope="session", autouse=True)
def started(
    pod: Pod,
    programs: Programs,
    shelves: dict[str, Shelf],
    digits: Digits,
    seed: int,
    versions: Callable[[str, str], None],
    side_by_side: ThreadPoolExecutor,
) -> Started:
    """Sets the training and both servers going; nobody waits here."""
    training = side_by_side.submit(_train, programs, digits, seed)
    student = StudentServer(programs)
    student.start()
    course = _start_course(pod, seed)
    versions("tfserving", version_of(course.server))
    return Started(student, course, training)


def _start_course(pod: Pod, seed: int) -> CourseServer:
    rng = generator(seed, "course")
    stranger = f"model_{rng.integers(10_000)}"
    inputs, outputs = int(rng.integers(3, 60)), int(rng.integers(2, 9))
    names = (f"sensor_{rng.integers(1000)}", f"score_{rng.integers(1000)}")
    strange = random_dense(rng, inputs, outputs, names)
    config = ""
    for name in (OURS, stranger):
        pod.outside(f"/course/{name}").mkdir()
        config += (
            f'config {{ name: "{name}" base_path: "{pod.inside(f"/course/{name}")}" model_platform: "tensorflow" '
            "model_version_policy { all {} } } "
        )
    shelf = Shelf(pod, f"/course/{OURS}", rng, int(rng.integers(2, 40)))
    shelf.put()
    Shelf(pod, f"/course/{stranger}", rng, int(rng.integers(2, 40))).put(strange)
    with socket.create_server(("127.0.0.1", 0)) as rest, socket.create_server(("127.0.0.1", 0)) as grpc:
        ports = rest.getsockname()[1], grpc.getsockname()[1]
    server = start_model_server(pod, ports, f"model_config_list {{ {config} }}")
    return CourseServer(server, shelf, stranger, strange)


def _train(programs: Programs, digits: Digits, seed: int) -> Finished | None:
    if "train.py" not in programs.intake.files:
        return None
    pod = programs.pod
    data = pod.outside("/course/digits.npz")
    np.savez(data, images=digits.train_images, labels=digits.train_labels)
    argv = ("train.py", "--data", pod.inside("/course/digits.npz"), "--out", pod.inside("/tmp/export/1"))
    return programs.python(*argv, "--seed", str(seed % 1000), limits=TRAINING_LIMITS)


@pytest.fixture
def server(started: Started) -> Later[ModelServer]:
    """The student's server, answering."""
    return Later(started.student.ready)


@pytest.fixture
def spoilt_server(started: Started) -> Later[ModelServer]:
    """The same for a check after which it has to be started again."""
    return Later(lambda: started.student.ready(spoil=True))


@pytest.fixture(scope="session")
def course(started: Started) -> Later[CourseServer]:
    """The course's own server, answering."""
    return Later(started.course.ready)


@pytest.fixture(scope="session")
def trained(started: Started, programs: Programs) -> Later[Finished]:
    """How the training run ended."""

    def wait() -> Finished:
        programs.require("train.py")
        finished = started.training.result()
        assert finished is not None
        return finished

    return Later(wait)


@pytest.fixture(scope="session")
def export(trained: Later[Finished], pod: Pod) -> Later[Path]:
    """A safe copy of what the training run wrote. Fails the check when it wrote nothing."""

    def copy() -> Path:
        finished = trained.get()
        if not finished.ok:
            fail(
                f"`python train.py` {finished.ending()}. It said:\n{finished.tail()}",
                "It ends with exit code 0.",
            )
        try:
            written = pod.open("/tmp/export/1", os.O_DIRECTORY)
        except OSError:
            fail(
                "`python train.py --out DIR` ended well, but there is no folder DIR.",
                "DIR is the version folder.",
            )
        target = pod.outside("/course/export")
        target.mkdir()
        try:
            notes = take_in(written, target).notes
        finally:
            os.close(written)
        if notes:
            fail(f"In the version folder, {notes[0]}", "Plain files, none of them larger than 20 MiB.")
        return target

    return Later(copy)


@dataclass(frozen=True)
class ServedExport:
    """The student's export on the course's server.

    Attributes:
        version: its version there.
        signature: the metadata of ``serving_default``.
    """

    version: int
    signature: dict[str, Any]


@pytest.fixture(scope="session")
def served_export(course: Later[CourseServer], export: Later[Path]) -> Later[ServedExport]:
    """Publishes the student's export on the course's server. Fails the check when it can't be served."""

    def publish() -> ServedExport:
        files, server, shelf = export.get(), course.get().server, course.get().shelf
        version = shelf.take_number()
        shutil.copytree(files, shelf.staging(version))
        shelf.reveal(version)

        def look() -> tuple[str, str] | None:
            state, message = server.states(OURS).get(version, ("", ""))
            return (state, message) if state in ("AVAILABLE", "END") else None

        state, message = polling(look, seconds=60, saw="TensorFlow Serving did not load the export within a minute.")
        if state == "END":
            fail(
                f"TensorFlow Serving can't load what train.py wrote: {message[:600]}",
                "A SavedModel in the version folder.",
            )
        answer = ask(server.path(OURS, version=version, then="/metadata")).json or {}
        signatures = answer.get("metadata", {}).get("signature_def", {}).get("signature_def", {})
        if "serving_default" not in signatures:
            fail(f"The export has the signatures {sorted(signatures)}.", "One of them is serving_default.")
        return ServedExport(version, signatures["serving_default"])

    return Later(publish)
