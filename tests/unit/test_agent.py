"""Number 1 of the container for student programs, and the socket that it is waited for at."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from autograder.pods.docker import agent


def test_an_agent_that_is_quicker_than_the_grader_tries_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not there, not listening, not yet given to its user: what it may meet while the grader makes the socket.
    too_early = [FileNotFoundError, ConnectionRefusedError, PermissionError]

    class Early(socket.socket):
        def connect(self, address: object) -> None:
            if too_early:
                raise too_early.pop()
            super().connect(str(address))

    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen(1)
        monkeypatch.setattr(socket, "socket", Early)
        with agent.connect(path):
            assert too_early == []


def test_a_grader_that_hangs_up_without_a_word_is_no_failure(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen(1)
        connection = agent.connect(path)
    with connection:  # which was never accepted
        assert agent.Agent(connection).call() == (b"", [])
