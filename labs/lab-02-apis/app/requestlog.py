"""A name for every request, and a line of JSON about it: middleware around the whole app."""

from __future__ import annotations

import json
import re
import sys
import time
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

ACCEPTED = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Versions:
    """The version of the model that answered last; "unknown" until one has."""

    def __init__(self) -> None:
        self.latest = "unknown"


class RequestLog:
    """Middleware: gives every request an id, and writes one line about it when it has been answered.

    The id is the caller's own `X-Request-ID` if it is 1 to 64 letters, digits, `-` and `_`, and a new one otherwise.
    Every answer, of whatever status, has the headers `X-Request-ID` and `X-Model-Version`. The line on standard
    output is a JSON object with at least `request_id`, `model_version`, `method`, `path` and `status`.

    A route finds the id in `request.state.request_id`, and says in `request.state.model_version` who answered.
    """

    def __init__(self, app: ASGIApp, versions: Versions) -> None:
        self._app, self._versions = app, versions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # YOUR CODE HERE
        raise NotImplementedError("requestlog.py: a part is still to be written")
