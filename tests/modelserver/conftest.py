"""The recorded models, TensorFlow's C library in this process, and running servers."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from conformance.recordings import FOLDER
from conformance.server import Server, World, running

from autograder.modelserver.capi import TensorFlow
from autograder.modelserver.servable import Servable
from autograder.modelserver.session import SessionConfig


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the recorded models."""
    folder = tmp_path_factory.mktemp("models")
    with tarfile.open(FOLDER / "models.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="session")
def tensorflow() -> TensorFlow:
    """TensorFlow's C library."""
    return TensorFlow()


@pytest.fixture(scope="session")
def multi(tensorflow: TensorFlow, models: Path) -> Servable:
    """The model with an identity signature for every type."""
    return Servable(tensorflow, "multi", 1, str(models / "multi/1"), ["serve"], SessionConfig())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A folder with the recorded models and base paths of the tests' own."""
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture
def serve(world: World, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers with flags; all are ended after the test."""
    with ExitStack() as stack:
        count = iter(range(100))

        def get(*flags: str) -> Server:
            return stack.enter_context(running(world, flags, tmp_path / f"{next(count)}.log"))

        yield get
