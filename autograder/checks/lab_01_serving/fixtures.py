"""What the checks of lab 01 share: data, models, the student's programs, and two model servers.

``beginning`` has set all of it going; a check waits for what it needs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from autograder.checking.programs import Programs
from autograder.checking.shelf import Array, Shelf, generator
from autograder.checks.lab_01_serving.beginning import OURS, CourseServer, Started, StudentServer
from autograder.checks.lab_01_serving.materials import Digits
from autograder.checks.lab_01_serving.relabelling import LabelServer, start_label_server
from autograder.errors import GraderError
from autograder.pods import Finished, Pod
from autograder.schedule import Later
from autograder.services.tfserving import ModelServer, version_of
from autograder.submission import take_in
from autograder.waiting import fail, polling

# Fixtures that take long to arrive: the checks that ask for them come late.
SLOW = frozenset({"trained", "export", "served_export"})
# Fixtures that a check has for itself, and what they have in common: it changes what others would see.
EXCLUSIVE = {
    "server": "the student's server",
    "student": "the student's server",
    "label_server": "the server whose labels are moved",
}

TOLERANCE = 1e-5


@pytest.fixture(scope="session", autouse=True)
def started(begun: Started, versions: Callable[[str, str], None]) -> Iterator[Started]:
    """What was set going at the beginning."""
    yield begun
    with contextlib.suppress(GraderError):  # the checks have said so
        versions("tfserving", version_of(begun.course.get().server))


@pytest.fixture(scope="session")
def programs(started: Started) -> Later[Programs]:
    """The student's programs, which let the student's server start first."""

    def wait() -> Programs:
        started.head_start.get()
        return started.programs

    return Later(wait)


@pytest.fixture(scope="session")
def digits(started: Started) -> Digits:
    return started.digits


@pytest.fixture(scope="session")
def shelves(started: Started) -> dict[str, Shelf]:
    """The two models of the student's server, with one version each to begin with."""
    return started.shelves


@pytest.fixture(scope="session")
def pixels(seed: int) -> Array:
    """Eight rows of random pixels, shape (8, 64)."""
    return generator(seed, "pixels").integers(0, 17, size=(8, 64)).astype(np.float32)


@pytest.fixture(scope="session")
def models_config(pod: Pod) -> Later[bytes]:
    """``models.config`` as it was before any label was moved."""
    return Later(lambda: pod.read("/submission/models.config"))


@pytest.fixture
def server(started: Started) -> Later[ModelServer]:
    """The student's server, answering."""
    return Later(started.student.ready)


@pytest.fixture
def student(started: Started) -> StudentServer:
    """The same for a check that may have to start it anew."""
    return started.student


@pytest.fixture(scope="session")
def label_server(pod: Pod, started: Started, seed: int, models_config: Later[bytes]) -> Later[LabelServer]:
    """A server of the course's with the student's ``models.config``, and two versions to move labels between."""

    def start() -> LabelServer:
        started.programs.require("models.config")
        return start_label_server(pod, seed, models_config.get())

    return Later(start)


@pytest.fixture(scope="session")
def course(started: Started) -> Later[CourseServer]:
    """The course's own server, answering."""
    return Later(lambda: started.course.get().ready())


@pytest.fixture(scope="session")
def trained(started: Started) -> Later[Finished]:
    """How the training run ended."""

    def wait() -> Finished:
        started.programs.require("train.py")
        training = started.training.get()
        assert training is not None
        finished = training.wait()
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


@pytest.fixture(scope="session")
def served_export(course: Later[CourseServer], export: Later[Path]) -> Later[int]:
    """The version of the student's export on the course's server. Fails the check when it can't be served."""

    def publish() -> int:
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
        return version

    return Later(publish)


@pytest.fixture(scope="session")
def load_export(served_export: Later[int]) -> Callable[[], int]:
    """The same for a check that has something to do before."""
    return served_export.get
