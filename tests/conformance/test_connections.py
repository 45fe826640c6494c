"""Bytes on a connection are answered as recorded: split, pipelined, folded, broken."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .recordings import Recording, recordings
from .server import Server, World, running, wait_until
from .test_lifecycle import answers

_FLAGS = ("--model_name=lin", "--model_base_path=/run/s9/lin")


def _conversations() -> list[Recording]:
    return [each for each in recordings("s9_misc") if "sent" in each.line]


@pytest.fixture(scope="module")
def server(world: World, server_with: Callable[[tuple[str, ...]], Server]) -> Server:
    """A server with the model lin."""
    if not world.path("/run/s9/lin").exists():
        world.add_version("/run/s9/lin", "1", "lin/1")
    return server_with(_FLAGS)


def _without_date(text: str) -> str:
    return re.sub(r"Date: [^\r]+", "Date: now", text)


@pytest.mark.parametrize("recording", [pytest.param(each, id=each.id) for each in _conversations()])
def test_a_conversation_goes_as_recorded(recording: Recording, server: Server) -> None:
    line = recording.line
    expected = _without_date(line["received"])
    received = ""
    closed = False
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        for part in line["sent"]:
            if isinstance(part, str):
                connection.sendall(part.encode("latin-1"))
            else:
                time.sleep(part)  # what was recorded is a pause between two packets
        connection.settimeout(5)
        # Where the real server says nothing more and stays, a moment of silence is the proof.
        while len(received) < len(expected) or line["server_closed"]:
            data = connection.recv(65536)
            if not data:
                closed = True
                break
            received = _without_date(received + data.decode("latin-1"))
        if not line["server_closed"]:
            connection.settimeout(0.3)
            with pytest.raises(TimeoutError):
                connection.recv(1)
    assert received == expected
    assert closed == line["server_closed"]


def test_it_serves_after_all_that(server: Server) -> None:
    answers(server, "s9_misc", "s9.after_disconnects")


def test_it_listens_on_ipv6_too(server: Server) -> None:
    with socket.create_connection(("::1", server.port), timeout=5):
        pass


@pytest.fixture
def slow_server(world: World, logs: Iterator[Path]) -> Iterator[Callable[..., Server]]:
    """A server with the signature that takes as long as asked."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def get(*flags: str) -> Server:
            base = "/run/s9/inflight"
            if not world.path(base).exists():
                world.add_version(base, "1", "multi/1")
            return stack.enter_context(
                running(world, ["--model_name=multi", f"--model_base_path={base}", *flags], next(logs))
            )

        yield get


def _slow(steps: int) -> tuple[str, str, str]:
    return "POST", "/v1/models/multi:predict", f'{{"signature_name": "slow", "instances": [{steps}]}}'


def test_a_timeout_is_504_and_leaves_the_server_well(slow_server: Callable[..., Server]) -> None:
    server = slow_server("--rest_api_timeout_in_ms=300")
    for _ in range(2):
        answer = server.ask(*_slow(20_000_000))
        assert answer.status == 504
        assert b"Timed out waiting for notification" in answer.body
    quick = server.ask("POST", "/v1/models/multi:predict", '{"signature_name": "fmt32z", "instances": [1]}')
    assert quick.status == 200


def test_a_version_that_is_working_is_not_torn_away(world: World, slow_server: Callable[..., Server]) -> None:
    server = slow_server("--rest_api_timeout_in_ms=60000")
    result = []
    worker = threading.Thread(target=lambda: result.append(server.ask(*_slow(2000))))
    worker.start()
    world.add_version("/run/s9/inflight", "2", "multi/1")
    wait_until(
        lambda: b'"version": "2",\n   "state": "AVAILABLE"' in server.ask("GET", "/v1/models/multi").body, "2 serves"
    )
    worker.join(60)
    assert result[0].status == 200
    wait_until(lambda: b'"state": "END"' in server.ask("GET", "/v1/models/multi").body, "1 has ended")


def test_status_is_answered_while_every_thread_is_busy(slow_server: Callable[..., Server]) -> None:
    """Better than the real server, which answers nothing while its only thread works."""
    server = slow_server("--rest_api_num_threads=1", "--rest_api_timeout_in_ms=1500")
    worker = threading.Thread(target=lambda: server.ask(*_slow(20_000_000)))
    worker.start()
    assert server.ask("GET", "/v1/models/multi").status == 200
    worker.join(30)
