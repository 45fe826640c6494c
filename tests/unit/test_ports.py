"""Who holds a port."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import psutil  # type: ignore[import-untyped]
import pytest

from autograder import ports
from autograder.ports import Holder, holder


@contextlib.contextmanager
def listening(address: str = "127.0.0.1", family: socket.AddressFamily = socket.AF_INET) -> Iterator[int]:
    with socket.socket(family, socket.SOCK_STREAM) as server:
        try:
            server.bind((address, 0))
        except OSError:
            pytest.skip(f"this machine has no {address}")
        server.listen()
        yield server.getsockname()[1]


def test_a_free_port_has_no_holder() -> None:
    with listening() as port:
        pass
    assert holder(port) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_server_is_found_with_its_process(address: str) -> None:
    with listening(address) as port:
        found = holder(port)
    assert found is not None
    assert (found.pid, found.yours) == (os.getpid(), True)


def test_a_server_on_ipv6_loopback_is_found() -> None:
    with listening("::1", socket.AF_INET6) as port:
        assert holder(port) is not None


def test_the_message_names_program_pid_and_command() -> None:
    code = "import socket; s = socket.create_server(('127.0.0.1', 0));print(s.getsockname()[1], flush=True); s.accept()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = str(holder(int(process.stdout.readline())))
        finally:
            process.kill()
    assert f"(pid {process.pid}, started by you: " in said
    assert said.startswith("python")
    assert "import socket" in said
    assert len(said) < 200


def test_a_connection_that_lingers_does_not_hold_its_port() -> None:
    with listening() as port, socket.create_connection(("127.0.0.1", port)):
        pass  # the server's side closes last, the client's side stays in TIME_WAIT for a minute
    assert holder(port) is None


def test_a_process_that_the_system_hides_is_another_user_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_listening", lambda port: iter([None]))
    found = holder(8501)
    assert found == Holder(8501)
    assert str(found) == "another user's process"


def test_where_only_own_processes_are_told_they_are_asked_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(kind: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", denied)
    monkeypatch.setattr(psutil, "process_iter", lambda: [psutil.Process()])
    with listening() as port:
        found = holder(port)
    assert found is not None
    assert found.pid == os.getpid()


def test_without_psutil_a_taken_port_is_still_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_psutil", lambda: None)
    with listening() as port:
        found = holder(port)
    assert str(found) == "another process"


def test_a_process_that_ends_while_it_is_described_is_still_named_by_its_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gone(pid: int) -> None:
        raise psutil.NoSuchProcess(pid)

    monkeypatch.setattr(psutil, "Process", gone)
    monkeypatch.setattr(ports, "_listening", lambda port: iter([4242]))
    assert str(holder(8501)) == "a process (pid 4242, started by another user)"
