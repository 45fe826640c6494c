"""What the checks of lab 02 share: the student's image, three instances of their app, and what stands behind each.

``beginning`` has set all of it going; a check waits for what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from autograder.checking.programs import Programs
from autograder.checking.shelf import Array, generator
from autograder.checks.lab_02_apis.beginning import Keys, Started, Upstream, Wired
from autograder.pods import Pod
from autograder.pods.building import Built
from autograder.schedule import Later
from autograder.services.api import Api
from autograder.services.tfserving import version_of
from autograder.submission import Intake

# Fixtures that take long to arrive: the checks that ask for them come late.
SLOW: frozenset[str] = frozenset()
# Fixtures that a check has for itself, and what they have in common: it changes what others would see.
EXCLUSIVE = {
    "wired": "the patient instance",
    "hurried": "the hurried instance",
    "busy": "the busy instance",
}

TOLERANCE = 1e-5


@pytest.fixture(scope="session")
def programs(pod: Pod, intake: Intake) -> Programs:
    return Programs(pod, intake)


@pytest.fixture(scope="session")
def pixels(seed: int) -> Array:
    """Eight images of random pixels, shape (8, 64)."""
    return generator(seed, "pixels").integers(0, 17, size=(8, 64)).astype(np.float32)


@pytest.fixture(scope="session", autouse=True)
def started(begun: Started, versions: Callable[[str, str], None]) -> Iterator[Started]:
    """What was set going at the beginning."""
    versions("tfserving", version_of(begun.upstream.server))
    yield begun
    begun.close()


@pytest.fixture(scope="session")
def keys(started: Started) -> Keys:
    """What nobody may find again."""
    return started.keys


@pytest.fixture(scope="session")
def upstream(started: Started) -> Later[Upstream]:
    """The real model server, answering."""
    return Later(started.upstream.ready)


@pytest.fixture(scope="session")
def built(started: Started) -> Later[Built]:
    """The student's image. Fails the check when there is none."""

    def wait() -> Built:
        started.instances.result()
        return started.building.result()

    return Later(wait)


@pytest.fixture(scope="session")
def app(started: Started) -> Later[Api]:
    """The instance in front of the real model server, alive."""

    def wait() -> Api:
        started.upstream.ready()
        api = started.instances.result().app
        api.wait_alive()
        return api

    return Later(wait)


@pytest.fixture
def wired(started: Started) -> Later[Wired]:
    """The patient instance, alive, and the stub behind it; for one check at a time."""

    def wait() -> Wired:
        api = started.instances.result().wired
        api.wait_alive()
        return Wired(api, started.patient_stub)

    return Later(wait)


@pytest.fixture
def hurried(started: Started) -> Later[Wired]:
    """The instance with little time, alive, and the stub behind it; for one check at a time."""

    def wait() -> Wired:
        api = started.instances.result().hurried
        api.wait_alive()
        return Wired(api, started.hurried_stub)

    return Later(wait)


@pytest.fixture(scope="session")
def busy(started: Started) -> Later[Wired]:
    """The patient instance that gets much to do, started when it is first asked for; in the end it is told to end."""

    def wait() -> Wired:
        wired = started.another()
        wired.api.wait_alive()
        return wired

    return Later(wait)


@pytest.fixture(scope="session")
def largest(started: Started) -> int:
    """How many images one request may have: what the instances were told in ``MAX_BATCH``."""
    return started.largest
