"""The world of the recordings and servers in it, shared by all tests of a worker."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .server import RemoteServer, Server, World, running


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The models and the base paths of the recordings, in a folder."""
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Names for log files, one after the other."""
    folder = tmp_path_factory.mktemp("logs")
    return (folder / f"{number}.log" for number in itertools.count())


@pytest.fixture(scope="module")
def server_with(world: World, logs: Iterator[Path]) -> Iterator[Callable[[tuple[str, ...]], Server | RemoteServer]]:
    """Gives a server with certain flags; one at a time, kept while the flags stay the same."""
    url = os.environ.get("MODELSERVER_URL")
    if url:
        yield lambda flags: _remote(url, flags)
        return
    stack = ExitStack()
    current: list[tuple[tuple[str, ...], Server]] = []

    def get(flags: tuple[str, ...]) -> Server:
        if not current or current[0][0] != flags:
            stack.close()
            current[:] = [(flags, stack.enter_context(running(world, flags, next(logs))))]
        return current[0][1]

    with stack:
        yield get


def _remote(url: str, flags: tuple[str, ...]) -> RemoteServer:
    """The running server, for the one scenario that it serves."""
    if not any(flag.endswith(os.environ.get("MODELSERVER_SERVES", "/run/s1/lin")) for flag in flags):
        pytest.skip("the server at MODELSERVER_URL serves another scenario")
    return RemoteServer(url)
