"""HTTP as a grader must speak it: an answer has an end, a size and a deadline, whoever the server is."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import requests

LARGEST = 16 << 20
_session = requests.Session()
_session.trust_env = False  # no proxy and no netrc stands between a grader and its own pod


@dataclass(frozen=True)
class Answer:
    """What came back, or why nothing did.

    Attributes:
        status: the HTTP status; 0 when there was no whole answer.
        body: the content.
        problem: why there was no whole answer, as a clause; empty when there was one.
        request: what was asked, as text to show.
    """

    status: int
    body: bytes
    problem: str
    request: str

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


def ask(url: str, body: Any = None, *, seconds: float = 30.0) -> Answer:
    """One request: GET, or POST with ``body`` as JSON. Never raises for what a server does.

    Args:
        url: where.
        body: what to send as JSON; bytes are sent as they are.
        seconds: the deadline for the whole answer.
    """
    method = "GET" if body is None else "POST"
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    shown = f"{method} {url}" + (f"\n{data[:1500].decode('utf-8', 'replace')}" if data else "")
    deadline = time.monotonic() + seconds
    content = bytearray()
    try:
        with _session.request(
            method,
            url,
            data=data,
            stream=True,
            timeout=seconds,
            headers={"Content-Type": "application/json"},
            allow_redirects=False,
        ) as response:
            for chunk in response.iter_content(65536):
                content += chunk
                if len(content) > LARGEST:
                    return Answer(0, b"", f"it is larger than {LARGEST >> 20} MiB", shown)
                if time.monotonic() > deadline:
                    return Answer(0, b"", f"it did not end within {seconds:g} seconds", shown)
            return Answer(response.status_code, bytes(content), "", shown)
    except requests.ConnectionError as error:
        return Answer(0, b"", f"no connection ({_innermost(error)})", shown)
    except requests.RequestException as error:
        return Answer(0, b"", _innermost(error), shown)


def _innermost(error: BaseException) -> str:
    while error.__context__ is not None:
        error = error.__context__
    return str(error) or type(error).__name__
