"""Pods to try promises on: one that is kept for tests which leave it as it was, and new ones for those that don't."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from autograder.pods import Pod

from .places import PLACES, Grader, Place


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "place" in metafunc.fixturenames:
        walled_only = metafunc.definition.get_closest_marker("walled") is not None
        below = metafunc.definition.get_closest_marker("below_the_grader") is not None
        places = [p for p in PLACES if (p.walled or not walled_only) and not (p.docker and below)]
        metafunc.parametrize("place", places, ids=lambda place: place.name, indirect=True, scope="module")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "walled: a promise of those places alone that have walls")
    config.addinivalue_line("markers", "below_the_grader: for pods that are processes below their grader's alone")


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest) -> Place:
    found = cast("Place", request.param)
    found.require()
    return found


@pytest.fixture(scope="module")
def kept(place: Place) -> Iterator[Grader]:
    with place.grader() as grader:
        yield grader


@pytest.fixture
def pod(kept: Grader) -> Pod:
    """A pod that other tests use too, one after the other."""
    return kept.pod


@pytest.fixture
def grader(place: Place) -> Iterator[Grader]:
    """Somebody with a pod that no other test uses."""
    with place.grader() as found:
        yield found
