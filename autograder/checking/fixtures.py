"""The fixtures that every check can ask for, in whatever lab."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from autograder.checking import EvidenceBox
from autograder.checking.context import Context
from autograder.pods import Pod
from autograder.submission import Intake

CONTEXT = pytest.StashKey[Context]()
BOX = pytest.StashKey[EvidenceBox]()


@pytest.fixture(scope="session")
def pod(pytestconfig: pytest.Config) -> Pod:
    """Where everything runs."""
    return pytestconfig.stash[CONTEXT].pod


@pytest.fixture(scope="session")
def begun(pytestconfig: pytest.Config) -> Any:
    """What the lab set going before its checks were collected. Raises what that raised."""
    return pytestconfig.stash[CONTEXT].begun.get()


@pytest.fixture(scope="session")
def intake(pytestconfig: pytest.Config) -> Intake:
    """The names of the submission's files."""
    return pytestconfig.stash[CONTEXT].intake


@pytest.fixture(scope="session")
def seed(pytestconfig: pytest.Config) -> int:
    """What models, inputs, numbers and names of this run are made from."""
    return pytestconfig.stash[CONTEXT].seed


@pytest.fixture(scope="session")
def versions(pytestconfig: pytest.Config) -> Callable[[str, str], None]:
    """``versions(service, text)`` tells the report what this run is on."""
    return pytestconfig.stash[CONTEXT].tell_version


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> EvidenceBox:
    """What this check wants to show."""
    item: pytest.Item = request.node
    return item.stash[BOX]
