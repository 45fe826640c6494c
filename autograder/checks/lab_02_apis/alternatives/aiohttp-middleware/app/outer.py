"""ASGI middleware without a framework: a name and a line for each request."""

import contextvars
import json
import logging
import string
import sys
from uuid import uuid4

ALLOWED = set(string.ascii_letters + string.digits + "-_")
request_id = contextvars.ContextVar("request_id", default="")
log = logging.getLogger("digits.requests")
log.setLevel("INFO")
log.addHandler(logging.StreamHandler(sys.stdout))
log.propagate = False


class Named:
    def __init__(self, inner) -> None:
        self.inner = inner
        self.version = "0"  # nobody has answered yet

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.inner(scope, receive, send)
        told = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"]
        mine = told[0] if told and 0 < len(told[0]) <= 64 and set(told[0]) <= ALLOWED else str(uuid4())
        request_id.set(mine)
        seen = {"status": 500}

        async def outgoing(event):
            if event["type"] == "http.response.start":
                headers = list(event["headers"])
                answered = dict(headers).get(b"x-model-version")
                if answered:
                    self.version = answered.decode()
                else:
                    headers.append((b"x-model-version", self.version.encode()))
                headers.append((b"x-request-id", mine.encode()))
                seen["status"] = event["status"]
                seen["version"] = dict(headers)[b"x-model-version"].decode()
                event = {**event, "headers": headers}
            await send(event)

        try:
            await self.inner(scope, receive, outgoing)
        finally:
            line = {"level": "info", "request_id": mine, "model_version": seen.get("version", self.version)}
            log.info(json.dumps(line | {k: scope[k] for k in ("method", "path")} | {"status": seen["status"]}))
