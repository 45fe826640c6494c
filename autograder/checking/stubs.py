"""Small servers that misbehave on request, and a proxy that remembers: what a client is tried against.

They listen on loopback only, at ports that the system picks, and end with their context.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOST = "127.0.0.1"
Reply = tuple[int, dict[str, str], bytes]  # status, headers, body


@contextmanager
def refusing() -> Iterator[str]:
    """The URL of a port that refuses connections, and stays ours so that nobody else opens it meanwhile."""
    with socket.socket() as held:
        held.bind((HOST, 0))
        yield f"http://{HOST}:{held.getsockname()[1]}"


@contextmanager
def stalling(beginning: bytes = b"", drip: bytes = b"") -> Iterator[str]:
    """A server that takes a request and never comes to the end of its answer.

    Args:
        beginning: what it sends at once.
        drip: what it sends again and again, four times a second, so that a client's socket never falls silent.
    """
    over = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                connection.recv(65536)
                connection.sendall(beginning)
                while not over.wait(0.25):
                    connection.sendall(drip)
            except OSError:
                return

    def listen(server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server((HOST, 0)) as server:
        threading.Thread(target=listen, args=(server,), daemon=True).start()
        try:
            yield f"http://{HOST}:{server.getsockname()[1]}"
        finally:
            over.set()
            server.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True)
class Recorded:
    """A request that a stub saw."""

    method: str
    path: str
    body: bytes

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass
class Recording:
    """A running stub: where it is, and what it has seen."""

    url: str
    requests: list[Recorded] = field(default_factory=list)


@contextmanager
def answering(status: int, body: bytes, content_type: str = "application/json") -> Iterator[Recording]:
    """A server that gives one answer to everything."""

    def reply(_: Recorded) -> Reply:
        return status, {"Content-Type": content_type}, body

    with _serving(reply) as recording:
        yield recording


@contextmanager
def unwilling(status: int, patience: float, body: bytes) -> Iterator[Recording]:
    """A server that refuses with ``status`` and ``Retry-After: 1`` at first, and answers 200 later.

    Args:
        status: of its refusals.
        patience: seconds from the first request on in which it refuses everything.
        body: what it answers after that.
    """
    first: list[float] = []

    def reply(_: Recorded) -> Reply:
        now = time.monotonic()
        first.append(now)
        if now - first[0] < patience:
            headers = {"Content-Type": "application/json", "Retry-After": "1"}
            return status, headers, b'{"detail": "not now"}'
        return 200, {"Content-Type": "application/json"}, body

    with _serving(reply) as recording:
        yield recording


@contextmanager
def proxy(port: int) -> Iterator[Recording]:
    """A server that passes everything on to a port of this pod, and remembers what was asked."""

    def reply(request: Recorded) -> Reply:
        connection = http.client.HTTPConnection(HOST, port, timeout=30)
        try:
            connection.request(request.method, request.path, request.body or None)
            answer = connection.getresponse()
            return answer.status, {"Content-Type": answer.headers.get("Content-Type", "")}, answer.read()
        finally:
            connection.close()

    with _serving(reply) as recording:
        yield recording


@contextmanager
def _serving(reply: Callable[[Recorded], Reply]) -> Iterator[Recording]:
    recording = Recording("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def handle_any(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            request = Recorded(self.command, self.path, self.rfile.read(min(size, 32 << 20)))
            recording.requests.append(request)
            status, headers, body = reply(request)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_PATCH = do_OPTIONS = handle_any

        def log_message(self, *_: object) -> None:
            """A grader's terminal is for the student."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that hangs up is what stubs are for."""

    with Server((HOST, 0), Handler) as server:
        recording.url = f"http://{HOST}:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield recording
        finally:
            server.shutdown()
            thread.join()
