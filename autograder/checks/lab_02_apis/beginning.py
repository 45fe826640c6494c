"""What is set going for the checks of lab 02 before anything else: the student's image, and what stands behind it.

The image is built and the model server starts side by side; as soon as there is an image, all three instances start.
The first asks a real model server. The other two ask stubs, which slow down, fail and count as a check tells them;
one of them has little time for an answer, so that nobody has to wait long to see it run out. A fourth, with a stub of
its own, is started when a check asks for it: it gets many requests at a time, and is told to end.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from autograder.checking.digits import MODEL
from autograder.checking.modelstub import ModelStub
from autograder.checking.shelf import Shelf, generator
from autograder.errors import CheckFailed, GraderError
from autograder.pods import Pod
from autograder.pods.building import Build, Built
from autograder.ports import free_ports
from autograder.services.api import LONGEST_PAUSE, Api, Failures, start_api
from autograder.services.patience import Patience
from autograder.services.savedmodel import random_dense
from autograder.services.tfserving import ModelServer, start_model_server
from autograder.submission import Intake
from autograder.waiting import fail, polling

PATIENT, SHORT = 30.0, 1.0  # seconds that an instance gives the model server
BACKOFF = 0.5  # seconds that the patient instance waits at most before its first retry


@dataclass(frozen=True)
class Keys:
    """What nobody may find again: made anew for every run, and from no seed, so that nobody knows them beforehand.

    Attributes:
        api: what the running instances are told in ``API_KEY``.
        planted: what stands in a ``.env`` beside the student's files when the image is built.
    """

    api: str
    planted: str


@dataclass(frozen=True)
class Upstream:
    """The real model server, and the versions that it serves."""

    server: ModelServer
    shelf: Shelf

    def ready(self) -> Upstream:
        """Waits until it answers. Raises GraderError: it has nothing to do with the student's work."""
        try:
            self.server.wait_available(MODEL, min(self.shelf.models), seconds=60)
        except CheckFailed as error:
            raise GraderError(f"The course's model server did not start: {self.server.running.log()[-800:]}") from error
        return self


@dataclass(frozen=True)
class Wired:
    """An instance, and the stub behind it."""

    api: Api
    stub: ModelStub

    @contextlib.contextmanager
    def cut_off(self) -> Iterator[None]:
        """The model server is down until the end of the context. Fails the check when the app never finds it again."""
        self.stub.down()
        try:
            yield
        finally:
            self.stub.up()
        failures = Failures(over=10)  # seconds; gRPC, for one, waits longer after every refusal before it connects

        def back() -> bool | None:
            answer = failures.see(self.api.predict([[0.0] * 64]))
            # A 500 that stays is the app's own, and found by the checks that are about predictions.
            return True if answer.status == 200 or failures.steady else None

        polling(
            back,
            seconds=60,
            saw=lambda: (
                f"A minute after the model server was back, POST /predict gave: {self.api.predict([[0.0] * 64])}"
            ),
            expected="200: the app finds it again by itself.",
            pause=0.05,
            longest=LONGEST_PAUSE,
        )


@dataclass(frozen=True)
class Instances:
    """The three instances of the app."""

    app: Api
    wired: Api
    hurried: Api


@dataclass(frozen=True)
class Started:
    """What was set going at the beginning.

    Attributes:
        keys: what nobody may find again.
        patient_stub, hurried_stub: what stands behind two of the instances.
        largest: how many images one request may have: what the instances were told in ``MAX_BATCH``.
        another: starts the busy instance.
        close: ends the stubs.
    """

    keys: Keys
    upstream: Upstream
    patient_stub: ModelStub
    hurried_stub: ModelStub
    largest: int
    building: Future[Built]
    instances: Future[Instances]
    another: Callable[[], Wired]
    close: Callable[[], None]


def begin(pod: Pod, intake: Intake, seed: int) -> Started:
    """Sets the model server, the image and the stubs going; nobody waits here."""
    rng = generator(seed, "upstream")
    port, patience = iter(free_ports(12)).__next__, Patience()
    upstream = _start_upstream(pod, seed, (port(), port()))
    keys = Keys(f"key-{secrets.token_hex(16)}", f"env-{secrets.token_hex(16)}")
    ends, executor = contextlib.ExitStack(), ThreadPoolExecutor(2)
    ends.callback(executor.shutdown, wait=False, cancel_futures=True)
    build = Build(extra={".env": f"API_KEY={keys.planted}\n".encode()}, needles=(keys.planted.encode(),))
    building = executor.submit(pod.build, build)
    largest = int(rng.integers(40, 90))
    common = {"API_KEY": keys.api, "MODEL_NAME": MODEL, "MAX_BATCH": str(largest)}

    def stub(purpose: str) -> ModelStub:
        own = generator(seed, purpose)
        return ends.enter_context(ModelStub(random_dense(own), MODEL, int(own.integers(2, 900)), (port(), port())))

    patient, hurried, busy = stub("patient"), stub("hurried"), stub("busy")

    def start(rest: str, grpc: str, seconds: float, name: str) -> Api:
        # Also with three attempts, most of the time is the model server's.
        backoff = BACKOFF if seconds == PATIENT else BACKOFF / 10
        times = {"MODEL_TIMEOUT": f"{seconds:g}", "RETRY_BACKOFF": f"{backoff:g}"}
        where = {"MODEL_SERVER_URL": rest, "MODEL_SERVER_GRPC": grpc}
        return start_api(pod, _usable(building.result()), port(), {**common, **where, **times}, name, patience)

    def start_three() -> Instances:
        return Instances(
            start(upstream.server.url, f"127.0.0.1:{upstream.server.grpc_port}", PATIENT, "the app"),
            start(patient.rest, patient.grpc, PATIENT, "the app behind a stub"),
            start(hurried.rest, hurried.grpc, SHORT, "the app with MODEL_TIMEOUT=1"),
        )

    def another() -> Wired:
        return Wired(start(busy.rest, busy.grpc, PATIENT, "the app behind a stub"), busy)

    instances = executor.submit(start_three)
    return Started(keys, upstream, patient, hurried, largest, building, instances, another, ends.close)


def _usable(built: Built) -> Built:
    """The same, if it came to an image; else fails the check."""
    if not built.ok:
        saw, _, expected = built.problem.partition(" Expected: ")
        expected = expected or "an image of the submission."
        fail(saw, expected[0].upper() + expected[1:], "Part 1 of the README says what the image needs.")
    return built


def _start_upstream(pod: Pod, seed: int, ports: tuple[int, int]) -> Upstream:
    rng = generator(seed, "model")
    pod.outside(f"/course/{MODEL}").mkdir()
    shelf = Shelf(pod, f"/course/{MODEL}", rng, int(rng.integers(2, 40)))
    shelf.put()
    config = (
        f'model_config_list {{ config {{ name: "{MODEL}" base_path: "{pod.inside(f"/course/{MODEL}")}" '
        'model_platform: "tensorflow" } }'
    )
    return Upstream(start_model_server(pod, ports, config), shelf)
