"""A load generator: keeps requests coming, and knows what every single one of them got.

It runs in a thread of its own, keeps its connections alive, and is bounded in count and in time. Where a model
server is under it, the answer itself tells which version gave it.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from autograder.report.model import LoadPoint
from autograder.waiting import fail

if TYPE_CHECKING:
    import aiohttp  # a fifth of a second that the first verdicts need not wait for

MOST_REQUESTS = 200_000
MOST_SECONDS = 180.0


class Load:
    """Requests to one URL, from entering the context to leaving it.

    Args:
        url: where.
        body: what each request sends.
        recognise: tells from a status and a body what the answer was, and whether that is a failure.
        connections: how many clients send at the same time.
        headers: what each request has beside its content type.
        pause: seconds from a client's answer to its next request; the machine has other things to do as well.
    """

    def __init__(
        self,
        url: str,
        body: bytes,
        recognise: Callable[[int, bytes], tuple[str, bool]],
        *,
        connections: int = 2,
        headers: Mapping[str, str] | None = None,
        pause: float = 0.0,
    ) -> None:
        self._url, self._body, self._recognise = url, body, recognise
        self._connections, self._pause = connections, pause
        self._headers = {"Content-Type": "application/json", **(headers or {})}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load", daemon=True)
        self._began = 0.0
        self.points: list[LoadPoint] = []

    def __enter__(self) -> Load:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def failures(self) -> list[LoadPoint]:
        return [point for point in self.points if point.failed]

    def answers(self) -> list[str]:
        """What was answered, in the order in which the answers came; failures are not among them."""
        return [point.answer for point in self.points if not point.failed]

    def wait_for(
        self, answer: str, *, times: int = 1, seconds: float = 60.0, expected: str = "", hint: str = ""
    ) -> None:
        """Waits until an answer has come ``times`` more often. Raises CheckFailed when it does not."""
        start = len(self.points)
        deadline = time.monotonic() + seconds
        seen = 0
        while seen < times:
            new = self.points[start:]
            start += len(new)
            seen += sum(point.answer == answer for point in new)
            if time.monotonic() > deadline or not self._thread.is_alive():
                last = self.points[-1].answer if self.points else "nothing"
                fail(
                    f"After {len(self.points)} requests, “{answer}” had answered {seen} times, at last {last}.",
                    expected,
                    hint,
                )
            time.sleep(0.01)

    async def _run(self) -> None:
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=30)
        connector = aiohttp.TCPConnector(limit=self._connections)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector, trust_env=False) as session:
            await asyncio.gather(*(self._client(session) for _ in range(self._connections)))

    async def _client(self, session: aiohttp.ClientSession) -> None:
        import aiohttp

        while not self._stop.is_set() and len(self.points) < MOST_REQUESTS:
            begin = time.monotonic()
            if begin - self._began > MOST_SECONDS:
                return
            try:
                async with session.post(self._url, data=self._body, headers=self._headers) as response:
                    answer, failed = self._recognise(response.status, await _whole(response.content))
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                answer, failed = what_happened(error), True
                await asyncio.sleep(0.01)  # a port that nobody listens on would be asked thousands of times
            end = time.monotonic()
            seen = LoadPoint(at=begin - self._began, seconds=end - begin, answer=answer[:200], failed=failed)
            self.points.append(seen)
            if self._pause:
                await asyncio.sleep(self._pause)


async def _whole(content: aiohttp.StreamReader, most: int = 1 << 20) -> bytes:
    """An answer's body, which may come in pieces; of a huge one the beginning."""
    found = bytearray()
    async for piece in content.iter_any():
        found += piece
        if len(found) > most:
            break
    return bytes(found[:most])


def what_happened(error: Exception) -> str:
    """A failed request in a student's words."""
    import aiohttp

    match error:
        case aiohttp.ClientConnectorError():
            return f"no connection: {os.strerror(error.os_error.errno) if error.os_error.errno else error.os_error}"
        case aiohttp.ServerDisconnectedError() | ConnectionResetError():
            return "the connection was closed before an answer came"
        case TimeoutError():
            return "no answer within 30 seconds"
    return f"{type(error).__name__}: {error}"[:200]
