"""The stub's REST API: ``:predict`` in row and column format, status and metadata, over connections that it counts."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from autograder.checking.modelstub.core import Array, Behaviour, Core

LARGEST = 32 << 20
DRIP_SECONDS = 0.25
PATH = re.compile(r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+))?(?P<then>/metadata|:predict)?")
SAID = {
    "unavailable": (503, b'{"error": "Servable not available"}'),
    "broken": (500, b'{"error": "Internal: the model failed"}'),
    "invalid": (400, b'{"error": "Invalid argument: the model wants something else"}'),
    "nonsense": (200, b"<html>It works!</html>"),
}


class RestServer(ThreadingHTTPServer):
    """Listens until it is closed; a thread a connection."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, core: Core, port: int) -> None:
        self.core = core
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._count = 0
        super().__init__(("127.0.0.1", port), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="stub", daemon=True)
        self._thread.start()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def close(self) -> None:
        """Ends, with every connection."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what stubs are for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RestServer

    def do_GET(self) -> None:
        core, found = self._look()
        if found is None or found["then"] == ":predict" or found["version"] not in (None, str(core.version)):
            self._send(404, b'{"error": "Not found"}')
        else:
            self._send(200, core.metadata() if found["then"] else core.status())

    def do_POST(self) -> None:
        body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), LARGEST))
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = self._chunks()
        core, found = self._look()
        if found is None or found["then"] != ":predict":
            self._send(404, b'{"error": "Not found"}')
            return
        rows, key = _rows(body, core.model.weights.shape[0])
        with core.call(rows, self._connection()) as behaviour:
            if found["version"] not in (None, str(core.version)):
                self._send(404, b'{"error": "Servable not found for request"}')
            else:
                self._predict(core, rows, key, behaviour)

    def _predict(self, core: Core, rows: Array, key: str, behaviour: Behaviour) -> None:
        if behaviour.kind in SAID:
            self._send(*SAID[behaviour.kind])
        elif behaviour.kind == "hang up":
            self.close_connection = True
        elif not len(rows):
            self._send(400, b'{"error": "Failed to process element: 0 of \'instances\' list."}')
        else:
            answer = json.dumps({key: core.model(rows).tolist()}).encode()
            if behaviour.kind == "drip":
                self._drip(answer, behaviour.gate)
            else:
                self._send(200, answer)

    def _drip(self, answer: bytes, gate: threading.Event) -> None:
        """A byte of the answer now and then, so that no single byte is ever late; the rest when the gate opens."""
        self._begin(200, len(answer))
        for position in range(len(answer)):
            if gate.wait(DRIP_SECONDS):
                self.wfile.write(answer[position:])
                return
            self.wfile.write(answer[position : position + 1])
            self.wfile.flush()

    def _look(self) -> tuple[Core, re.Match[str] | None]:
        core = self.server.core
        core.saw(self._connection())
        found = PATH.fullmatch(self.path.partition("?")[0])
        return core, found if found and found["name"] == core.name else None

    def _connection(self) -> str:
        return f"rest:{self.client_address[1]}"

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(64).split(b";")[0] or b"0", 16):
            body += self.rfile.read(min(size, LARGEST - len(body)))
            self.rfile.readline(8)
        self.rfile.readline(8)
        return body

    def _send(self, status: int, body: bytes) -> None:
        self._begin(status, len(body))
        self.wfile.write(body)

    def _begin(self, status: int, size: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """A grader's terminal is for the student."""


def _rows(body: bytes, inputs: int) -> tuple[Array, str]:
    """The rows of a request, and the key of the answer to it; no rows when they can't be read."""
    try:
        told = json.loads(body)
        key = "instances" if "instances" in told else "inputs"
        values = told[key]
        if isinstance(values, dict):
            (values,) = values.values()
        elif values and isinstance(values[0], dict):
            values = [next(iter(value.values())) for value in values]
        rows = np.array(values, dtype=np.float32)
    except (ValueError, KeyError, TypeError, IndexError, StopIteration, RecursionError, OverflowError):
        rows, key = np.empty((0, inputs), dtype=np.float32), "instances"
    if rows.ndim != 2 or rows.shape[1] != inputs:
        rows = np.empty((0, inputs), dtype=np.float32)
    return rows, "predictions" if key == "instances" else "outputs"
