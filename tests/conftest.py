"""What tests of several folders share, and what a run of all tests says when it is over."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from autograder.errors import GraderError, MachineError
from autograder.pods.docker.runtime import DockerRuntime


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line about what this machine could not run."""
    try:
        DockerRuntime.available(["tfserving"])
    except (GraderError, MachineError) as error:
        terminalreporter.write_line(f"Left out: the tests of pods in Docker. {error.saw} {error.hint}")


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Fills a folder once in a run of the tests, however many processes that run has."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent

    def get(name: str, fill: Callable[[Path], None]) -> Path:
        folder = base / f"once-{name}"
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "filled").exists():
                folder.mkdir()
                fill(folder)
                (folder / "filled").touch()
        return folder

    return get
