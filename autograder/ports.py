"""Ports of this machine's loopback: free ones, and who holds one, for messages that name the program in the way.

The standard library is enough to tell that a port is taken; psutil, where it is installed, tells by whom. It is
imported when that is asked: who only wants free ports does not wait for it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Holder", "free_ports", "holder"]

_LONGEST_COMMAND = 100


@dataclass(frozen=True)
class Holder:
    """The process that holds a port, as far as this user may know it.

    Attributes:
        port: the port.
        pid: the process's number; ``None`` when the system does not tell, as for another user's process.
        name: the program's name; empty when unknown.
        command: its command line, shortened; empty when unknown.
        user: who runs it; empty when unknown.
        yours: whether that is the user who asks.
    """

    port: int
    pid: int | None = None
    name: str = ""
    command: str = ""
    user: str = ""
    yours: bool = False

    def __str__(self) -> str:
        """``python (pid 4242, started by you: python -m http.server 8501)``."""
        if self.pid is None:
            return "another user's process" if _psutil() else "another process"
        who = "you" if self.yours else self.user or "another user"
        command = f": {self.command}" if self.command else ""
        return f"{self.name or 'a process'} (pid {self.pid}, started by {who}{command})"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different. Ask once for all that are needed: later, one may be given again."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]


def holder(port: int) -> Holder | None:
    """Who holds TCP ``port`` on loopback, IPv4 or IPv6; ``None`` when it is free.

    A port on another address alone, or one that only lingers after a connection has closed, is free.
    """
    pids = set(_listening(port))
    if found := sorted(pid for pid in pids if pid is not None):
        return _described(port, found[0])
    return Holder(port) if pids or _taken(port) else None


def _listening(port: int) -> Iterator[int | None]:
    """The numbers of the processes that listen at the port; ``None`` for one that may not be known."""
    psutil = _psutil()
    if psutil is None:
        return
    try:
        yield from (known.pid for known in psutil.net_connections("tcp") if _listens(known, port))
    except psutil.AccessDenied:  # macOS tells a user only of their own processes, one by one
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if any(_listens(known, port) for known in process.net_connections("tcp")):
                    yield process.pid


def _psutil() -> Any:
    """psutil; ``None`` where the environment has not been made yet, as for `make doctor`."""
    try:
        import psutil
    except ImportError:
        return None
    return psutil


def _listens(connection: Any, port: int) -> bool:
    if connection.status != "LISTEN" or connection.laddr.port != port:
        return False
    address: str = connection.laddr.ip.removeprefix("::ffff:")
    return address in ("0.0.0.0", "::", "::1") or address.startswith("127.")


def _described(port: int, pid: int) -> Holder:
    import psutil

    try:
        process = psutil.Process(pid)
        facts = process.as_dict(["name", "cmdline", "username", "uids"], ad_value=None)
    except psutil.Error:  # it ended in between, or is hidden
        return Holder(port, pid)
    command = shlex.join(facts["cmdline"] or ())
    if len(command) > _LONGEST_COMMAND:
        command = command[: _LONGEST_COMMAND - 1] + "…"
    yours = facts["uids"] is not None and facts["uids"].real == os.getuid()
    return Holder(port, pid, facts["name"] or "", command, facts["username"] or "", yours)


def _taken(port: int) -> bool:
    """Whether the system refuses the port to a new server."""
    addresses = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
    if sys.platform == "darwin":  # where a server on all addresses does not stand in the way of one on loopback
        addresses.append((socket.AF_INET, "0.0.0.0"))
    return any(_refused(family, address, port) for family, address in addresses)


def _refused(family: socket.AddressFamily, address: str, port: int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((address, port))
    except OSError as error:  # no IPv6 here, or a port for root alone, is not a port that is taken
        return error.errno == errno.EADDRINUSE
    return False
