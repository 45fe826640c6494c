"""Tests of what is true of pods in Docker alone; the promises of every pod are in ``tests/pods``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autograder.errors import MachineError
from autograder.pods.docker.engine import Engine, sweep
from autograder.pods.docker.runtime import DockerRuntime

sys.path.insert(0, str(Path(__file__).parents[1]))

from pods.places import PLACES, Grader


@pytest.fixture(scope="session", autouse=True)
def runtime() -> DockerRuntime:
    """The docker runtime for lab 01. Without it there is nothing to test; with ``REQUIRE_DOCKER`` that is a failure."""
    try:
        return DockerRuntime.available(["tfserving"])
    except MachineError as error:
        if os.environ.get("REQUIRE_DOCKER"):
            raise
        pytest.skip(f"{error.saw} {error.hint}")


@pytest.fixture(scope="session")
def engine(runtime: DockerRuntime) -> Engine:
    return runtime.engine


@pytest.fixture
def grader() -> Iterator[Grader]:
    """Somebody with a pod in Docker that no other test uses."""
    with next(place for place in PLACES if place.docker).grader() as found:
        yield found


@pytest.fixture(autouse=True)
def tidy(engine: Engine) -> Iterator[None]:
    """What a test killed is cleared away after it."""
    yield
    sweep(engine)
