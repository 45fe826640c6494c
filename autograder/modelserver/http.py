"""HTTP/1.x as libevent's server speaks it, which is what TensorFlow Serving is built on.

Its habits are kept because clients see them: a body in the answer to HEAD, folded header lines and repeated
lengths accepted, 501 for a method it does not know, 413 for a bad chunk, connections closed after its own error pages.
A connection answers one request at a time, in order. Heads of requests repeat on a kept connection, so each
distinct one is parsed once.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
import traceback
import zlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    413: "Request Entity Too Large",
    417: "Expectation Failed",
    429: "Client Error",
    499: "Client Error",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    504: "Gateway Time-out",
}

_END_OF_HEAD: Final = re.compile(rb"\r?\n\r?\n")
_LINE: Final = re.compile(rb"\r?\n")
_CACHED_HEADS: Final = 512
_MAX_UNZIPPED: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: status, headers before `Date`, body; `close` ends the connection after it."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
    trailing: tuple[tuple[str, str], ...] = ()
    close: bool = False


@dataclass(slots=True)
class Head:
    """The parsed first lines of a request. `route` is the handler's own note."""

    method: str
    target: str
    version: tuple[int, int] = (1, 1)
    headers: dict[str, str] = field(default_factory=dict)
    length: int = 0
    chunked: bool = False
    keep_alive: bool = True
    gzipped: bool = False
    expects_continue: bool = False
    route: Any = None


Handler = Callable[[Head, bytes], "Response | Awaitable[Response]"]


class _Refused(Exception):
    """The bytes are no request; answered with an error page."""

    def __init__(self, status: int, method: str = "GET") -> None:
        self.status = status
        self.method = method


def error_page(status: int) -> Response:
    """libevent's own error page."""
    title = f"{status} {REASONS[status]}"
    body = f"<HTML><HEAD>\n<TITLE>{title}</TITLE>\n</HEAD><BODY>\n<H1>{REASONS[status]}</H1>\n</BODY></HTML>\n"
    return Response(status, body.encode(), (("Content-Type", "text/html"), ("Connection", "close")), close=True)


def _our_fault() -> Response:
    """The answer where this server has a mistake in it, which the log shows."""
    traceback.print_exc()
    return error_page(500)


def parse_head(head: bytes) -> Head:
    """Reads a request line and headers (without the empty line).

    Raises:
        _Refused: it is none that libevent would take.
    """
    lines = _LINE.split(head)
    parts = lines[0].split(b" ")
    if len(parts) < 3:
        raise _Refused(400)
    method, target = parts[0].decode("latin-1"), b" ".join(parts[1:-1]).decode("latin-1")
    version = re.fullmatch(rb"HTTP/(\d+)\.(\d+)", parts[-1])
    if version is None or int(version[1]) != 1 or int(version[2]) > 1:
        raise _Refused(400)
    headers: dict[str, str] = {}
    last = ""
    for line in lines[1:]:
        text = line.decode("latin-1")
        if line[:1] in (b" ", b"\t") and last:
            headers[last] += " " + text.strip()
            continue
        name, colon, value = text.partition(":")
        if not colon:
            raise _Refused(400)
        last = name.lower()
        headers.setdefault(last, value.strip())
    if method not in METHODS:
        raise _Refused(501, method)
    result = Head(method, target, (int(version[1]), int(version[2])), headers)
    _read_framing(result)
    return result


def _read_framing(head: Head) -> None:
    headers = head.headers
    connection = headers.get("connection", "").lower()
    head.keep_alive = "keep-alive" in connection if head.version == (1, 0) else connection != "close"
    head.gzipped = "gzip" in headers.get("content-encoding", "").lower()
    head.chunked = headers.get("transfer-encoding", "").lower() == "chunked"
    head.expects_continue = headers.get("expect", "").lower() == "100-continue"
    length = headers.get("content-length")
    if head.chunked:
        return
    if length is None:
        # libevent can't tell where such a body would end.
        if connection not in ("", "close") and head.method in ("POST", "PUT", "PATCH"):
            raise _Refused(400)
        return
    if not (length.isascii() and length.isdigit()) or int(length) >= 2**63:
        raise _Refused(400)
    head.length = int(length)
    if head.length and "expect" in headers and not head.expects_continue and head.version == (1, 1):
        raise _Refused(417)


def _unzip(body: bytes) -> bytes:
    """The unpacked body; empty if it is no gzip or too large, as the real server has it."""
    unpacker = zlib.decompressobj(31)
    try:
        unpacked = unpacker.decompress(body, _MAX_UNZIPPED)
    except zlib.error:
        return b""
    return unpacked if unpacker.eof else b""


class _Clock:
    """The Date header's value, formatted once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def date(self) -> str:
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._text = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now))
        return self._text


class HttpServer:
    """What the connections of one server share: the handler, the clock, the heads seen, themselves."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.clock = _Clock()
        self.heads: dict[bytes, Head] = {}
        self.connections: set[Connection] = set()
        self.stopping = False
        self.tasks: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()

    def connection(self) -> Connection:
        """The protocol for one new connection."""
        return Connection(self)

    def head(self, raw: bytes) -> Head:
        """The parsed head, from those seen before if it is one of them."""
        known = self.heads.get(raw)
        if known is None:
            known = parse_head(raw)
            if len(self.heads) >= _CACHED_HEADS:
                self.heads.clear()
            self.heads[raw] = known
        return known

    def lost(self, connection: Connection) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        self._ended.set()

    def work(self, answer: Coroutine[Any, Any, None]) -> None:
        """Runs what answers a request later."""
        task = asyncio.ensure_future(answer)
        self.tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        self._ended.set()

    async def drain(self, grace_seconds: float) -> None:
        """Closes idle connections and waits until the others have been answered, or for so long."""
        self.stopping = True
        for connection in list(self.connections):
            connection.close_if_idle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                while self.connections or self.tasks:
                    self._ended.clear()
                    await self._ended.wait()


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._searched = 0
        self._head: Head | None = None
        self._chunks = bytearray()
        self._busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the connection is open."""
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the connection is gone."""
        self._transport = None
        self._server.lost(self)

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes came in."""
        self._buffer += data
        if not self._busy:
            self._advance()

    def close_if_idle(self) -> None:
        """Ends the connection unless an answer is due or a request's body is on its way."""
        if not self._busy and self._head is None and self._transport is not None:
            self._transport.close()

    def _advance(self) -> None:
        """Answers as many complete requests as the buffer holds."""
        try:
            while not self._busy and self._transport is not None:
                if self._head is None and not self._take_head():
                    return
                body = self._take_body()
                if body is None:
                    return
                head, self._head = self._head, None
                assert head is not None
                self._answer(head, _unzip(body) if head.gzipped else body)
        except _Refused as refusal:
            self._send(Head(refusal.method, "/"), error_page(refusal.status))

    def _take_head(self) -> bool:
        buffer = self._buffer
        end = buffer.find(b"\r\n\r\n", max(self._searched - 3, 0))
        size = 4
        if end < 0:
            found = _END_OF_HEAD.search(buffer)
            if found is None:
                self._refuse_early()
                self._searched = len(buffer)
                return False
            end, size = found.start(), found.end() - found.start()
        raw = bytes(buffer[:end])
        del buffer[: end + size]
        self._searched = 0
        self._head = head = self._server.head(raw)
        if head.expects_continue and self._transport is not None and len(buffer) < max(head.length, 1):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def _refuse_early(self) -> None:
        """A first line that is wrong is refused at once, without waiting for the headers."""
        line, newline, _ = bytes(self._buffer[:8192]).partition(b"\n")
        if newline:
            parse_head(line.rstrip(b"\r"))

    def _take_body(self) -> bytes | None:
        head, buffer = self._head, self._buffer
        assert head is not None
        if head.chunked:
            return self._take_chunks()
        length = head.length
        if len(buffer) < length:
            return None
        body = bytes(buffer[:length])
        del buffer[:length]
        return body

    def _take_chunks(self) -> bytes | None:
        buffer = self._buffer
        while True:
            line_end = buffer.find(b"\n")
            if line_end < 0:
                return None
            size_text = bytes(buffer[:line_end]).split(b";")[0].strip()
            if not re.fullmatch(rb"[0-9a-fA-F]{1,15}", size_text):
                raise _Refused(413)
            size = int(size_text, 16)
            if size == 0:
                trailer = re.compile(rb"(?:[^\r\n]+\r?\n)*\r?\n").match(buffer, line_end + 1)
                if trailer is None:
                    return None
                del buffer[: trailer.end()]
                body = bytes(self._chunks)
                self._chunks.clear()
                return body
            after = line_end + 1 + size
            if len(buffer) < after + 2:
                return None
            self._chunks += buffer[line_end + 1 : after]
            del buffer[: after + (2 if buffer[after : after + 2] == b"\r\n" else 1)]

    def _answer(self, head: Head, body: bytes) -> None:
        try:
            response = self._server.handler(head, body)
        except Exception:
            response = _our_fault()
        if isinstance(response, Response):
            self._send(head, response)
            return
        self._busy = True
        self._server.work(self._answer_later(head, response))

    async def _answer_later(self, head: Head, pending: Awaitable[Response]) -> None:
        try:
            response = await pending
        except Exception:
            response = _our_fault()
        self._busy = False
        self._send(head, response)
        self._advance()

    def _send(self, head: Head, response: Response) -> None:
        transport = self._transport
        if transport is None:
            return
        close = response.close or not head.keep_alive or self._server.stopping
        lines = [f"HTTP/{head.version[0]}.{head.version[1]} {response.status} {REASONS[response.status]}\r\n"]
        for name, value in response.headers:
            lines.append(f"{name}: {value}\r\n")
        if head.version == (1, 1):
            lines.append(f"Date: {self._server.clock.date()}\r\n")
        if head.version == (1, 1) or head.keep_alive:
            if head.method not in ("HEAD", "CONNECT"):
                lines.append(f"Content-Length: {len(response.body)}\r\n")
            if head.version == (1, 0):
                lines.append("Connection: keep-alive\r\n")
        if close and not response.close and head.version == (1, 1):
            lines.append("Connection: close\r\n")
        for name, value in response.trailing:
            lines.append(f"{name}: {value}\r\n")
        lines.append("\r\n")
        transport.write("".join(lines).encode("latin-1") + response.body)
        if close:
            transport.close()
