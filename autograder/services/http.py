"""HTTP as a grader must speak it: an answer has an end, a size and a deadline, whoever the server is."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

LARGEST = 16 << 20


@dataclass(frozen=True)
class Answer:
    """What came back, or why nothing did.

    Attributes:
        status: the HTTP status; 0 when there was no whole answer.
        body: the content.
        problem: why there was no whole answer, as a clause; empty when there was one.
        request: what was asked, as text to show.
        headers: the answer's, by their names in lower case.
        late: whether its deadline passed before it was whole.
    """

    status: int
    body: bytes
    problem: str
    request: str
    headers: Mapping[str, str] = field(default_factory=dict)
    late: bool = False

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    @property
    def json(self) -> Any:
        """The content as JSON; ``None`` if it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def __str__(self) -> str:
        if self.problem:
            return f"no answer: {self.problem}"
        return f"{self.status} {self.text[:2000]}"


def ask(url: str, body: Any = None, *, seconds: float = 30.0, headers: Mapping[str, str] | None = None) -> Answer:
    """One request: GET, or POST with ``body`` as JSON. Never raises for what a server does.

    Args:
        url: where.
        body: what to send as JSON; bytes are sent as they are.
        seconds: the deadline for the whole answer, also of a server that sends a byte now and then.
        headers: what to send beside ``Content-Type: application/json``.
    """
    from http.client import HTTPConnection, HTTPException  # and with it ssl: when there is a server to talk to

    method = "GET" if body is None else "POST"
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    shown = f"{method} {url}" + (f"\n{data[:1500].decode('utf-8', 'replace')}" if data else "")
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
    late = threading.Event()
    try:
        connection.connect()
        clock = threading.Timer(seconds, _hang_up, (connection.sock, late))
        clock.start()
        try:
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            connection.request(method, target or "/", data, {"Content-Type": "application/json", **(headers or {})})
            response = connection.getresponse()
            content = response.read(LARGEST + 1)
        finally:
            clock.cancel()
    except (HTTPException, OSError) as error:
        if isinstance(error, TimeoutError):
            late.set()
        elif isinstance(error, ConnectionRefusedError):
            problem = f"no connection ({error})"
        elif isinstance(error, ConnectionError):
            problem = f"the connection broke ({error})"
        else:
            problem = f"it was broken ({type(error).__name__}: {error})"
        if not late.is_set():
            return Answer(0, b"", problem[:400], shown)
    finally:
        connection.close()
    if late.is_set():
        return Answer(0, b"", f"it did not end within {seconds:.3g} seconds", shown, late=True)
    if len(content) > LARGEST:
        return Answer(0, b"", f"it is larger than {LARGEST >> 20} MiB", shown)
    told = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, content, "", shown, told)


def _hang_up(connection: socket.socket, late: threading.Event) -> None:
    """Ends a request from our side, whatever it is waiting for."""
    late.set()
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
