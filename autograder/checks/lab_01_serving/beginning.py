"""What is set going for the checks of lab 01 before anything else: two model servers, and the training run.

The student's server begins with models of ours, so nothing has to wait for the training but the checks about it. It
comes first: nearly every check waits for it, and the others would keep the processors from it.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass

import numpy as np

from autograder.checking.digits import read_digits
from autograder.checking.programs import Programs
from autograder.checking.shelf import Shelf, generator
from autograder.checks.lab_01_serving.materials import MODEL, SECOND, TRAINING_LIMITS, Digits
from autograder.errors import CheckFailed, GraderError
from autograder.pods import Pod, Running
from autograder.ports import free_ports
from autograder.schedule import Later
from autograder.services.http import ask
from autograder.services.savedmodel import Dense, random_dense
from autograder.services.tfserving import ModelServer, start_model_server, start_student_server, wait_started
from autograder.submission import Intake
from autograder.waiting import polling

OURS = "model"  # on the course's own server
HEAD_START = 5.0  # seconds that the student's server has at most for itself; one that takes longer shares them
NICE = 10  # of the student's short programs: the training is what everything waits for in the end


class StudentServer:
    """The server of ``serve.sh``."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self.server: ModelServer | None = None

    def start(self) -> None:
        """Starts it, if there is a ``serve.sh``; comes back at once."""
        if "serve.sh" in self._programs.intake.files:
            self.server = start_student_server(self._programs.pod)

    def head_start(self) -> None:
        """Waits until it answers anything at all, has ended, or has had time enough."""
        server = self.server
        if server is None:
            return
        with contextlib.suppress(CheckFailed, GraderError):
            polling(
                lambda: ask(server.path(MODEL), seconds=HEAD_START).status or None,
                seconds=HEAD_START,
                saw="",
                give_up=lambda: not server.running.alive,
            )

    def first(self) -> ModelServer:
        """The server that was started at the beginning, answering. Raises CheckFailed when it never does."""
        self._programs.require("serve.sh")
        assert self.server is not None
        wait_started(self.server, MODEL)
        return self.server

    def ready(self) -> ModelServer:
        """The server, answering; started again if it has ended."""
        if self.server is not None and not self.server.running.alive:
            self.start()
        return self.first()

    def idle(self) -> ModelServer:
        """The same, and it takes up new versions: one that tries to load an old one again and again is started anew."""
        server = self.ready()
        states = [state for name in (MODEL, SECOND) for state, _ in server.states(name).values()]
        if "START" in states or "LOADING" in states:
            server.running.kill()
        return self.ready()


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

    def ready(self) -> CourseServer:
        """Waits until it answers. Raises GraderError: it has nothing to do with the student's work."""
        try:
            self.server.wait_available(OURS, min(self.shelf.models), seconds=60)
        except CheckFailed as error:
            raise GraderError(f"The course's model server did not start: {self.server.running.log()[-800:]}") from error
        return self


@dataclass(frozen=True)
class Started:
    """What was set going at the beginning.

    Attributes:
        student: the student's server.
        head_start: is there when that server has had the machine for itself.
        course: the course's own server, started after that.
        training: the run of ``train.py``, started after that, too; ``None`` if there is no such file.
        programs: how to run the student's programs.
        digits: what the training gets, and what is kept from it.
        shelves: the two models of the student's server, with one version each to begin with.
    """

    student: StudentServer
    head_start: Later[None]
    course: Later[CourseServer]
    training: Later[Running | None]
    programs: Programs
    digits: Digits
    shelves: dict[str, Shelf]


def begin(pod: Pod, intake: Intake, seed: int) -> Started:
    """Sets the student's server going, and the rest when it has had its head start; nobody waits here."""
    programs = Programs(pod, intake, NICE)
    student = StudentServer(programs)
    shelves = _shelves(pod, seed)
    student.start()
    digits = shuffled_digits(seed)
    head_start = Later(student.head_start)

    def start_training() -> Running | None:
        head_start.get()
        return _train(programs, digits, seed)

    def start_course() -> CourseServer:
        head_start.get()
        return _start_course(pod, seed)

    training, course = Later(start_training), Later(start_course)

    def rest() -> None:
        for later in (training, course):
            with contextlib.suppress(Exception):  # remembered, for the checks to say
                later.get()

    threading.Thread(target=rest, name="beginning", daemon=True).start()
    return Started(student, head_start, course, training, programs, digits, shelves)


def shuffled_digits(seed: int) -> Digits:
    """scikit-learn's digits, in an order and with labels of this seed's own."""
    rng = generator(seed, "digits")
    images, labels = read_digits()
    order = rng.permutation(len(images))
    images, labels = images[order], rng.permutation(10)[labels[order]]
    return Digits(images[:1400], labels[:1400], images[1400:], labels[1400:])


def _train(programs: Programs, digits: Digits, seed: int) -> Running | None:
    if "train.py" not in programs.intake.files:
        return None
    pod = programs.pod
    data = pod.outside("/course/digits.npz")
    np.savez(data, images=digits.train_images, labels=digits.train_labels)
    argv = ("train.py", "--data", pod.inside("/course/digits.npz"), "--out", pod.inside("/tmp/export/1"))
    return programs.start(*argv, "--seed", str(seed % 1000), limits=TRAINING_LIMITS)


def _shelves(pod: Pod, seed: int) -> dict[str, Shelf]:
    found = {}
    for name in (MODEL, SECOND):
        rng = generator(seed, name)
        pod.outside(f"/models/{name}").mkdir()
        pod.grant(f"/models/{name}")
        found[name] = Shelf(pod, f"/models/{name}", rng, int(rng.integers(2, 40)))
        found[name].put()
    return found


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
    rest, grpc = free_ports(2)
    server = start_model_server(pod, (rest, grpc), f"model_config_list {{ {config} }}")
    return CourseServer(server, shelf, stranger, strange)
