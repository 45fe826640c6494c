"""What a run of all tests says when it is over."""

from __future__ import annotations

import pytest

from autograder.errors import GraderError, MachineError
from autograder.pods.docker.runtime import DockerRuntime


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line about what this machine could not run."""
    try:
        DockerRuntime.available(["tfserving"])
    except (GraderError, MachineError) as error:
        terminalreporter.write_line(f"Left out: the tests of pods in Docker. {error.saw} {error.hint}")
