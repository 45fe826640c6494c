"""Where the embedded server's time for a request goes: HTTP, JSON in, the session, JSON out, in µs, in one thread.

Usage: python modelserver_stages.py SAVED_MODEL_FOLDER
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

from autograder.modelserver import jsonin, jsonout
from autograder.modelserver.capi import TensorFlow
from autograder.modelserver.http import Head, HttpServer, Response
from autograder.modelserver.jsonexact import PredictInput
from autograder.modelserver.servable import Servable
from autograder.modelserver.session import RunMode, SessionConfig

ROW = [5.1, 3.5, 1.4, 0.2]


class _Transport:
    """Takes what a connection writes."""

    def write(self, data: bytes) -> None:
        """Drops it."""

    def close(self) -> None:
        """Nothing to close."""


def quickest(work: Callable[[], object], rounds: int = 20, times: int = 200) -> float:
    """Microseconds of one call, the best of several rounds."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(times):
            work()
        best = min(best, (time.perf_counter() - start) / times)
    return best * 1e6


def main() -> None:
    """Prints a line for each size of request."""
    servable = Servable(TensorFlow(), "m", 1, sys.argv[1], ["serve"], SessionConfig())
    signature = servable.signature("")
    modes = {inline: RunMode(inline=inline) for inline in (True, False)}
    for rows in (1, 64):
        body = json.dumps({"instances": [ROW] * rows}).encode()
        raw = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        request = jsonin.predict_input(body, lambda _: signature.inputs)
        answer: dict[str, Response] = {}

        def session(inline: bool, request: PredictInput = request) -> dict[str, jsonout.Tensor]:
            return servable.run(signature, request.tensors, signature.outputs, modes[inline])

        outputs = session(True)
        answer["is"] = Response(200, jsonout.predictions(outputs))

        def handle(_head: Head, _body: bytes, answer: dict[str, Response] = answer) -> Response:
            return answer["is"]

        connection = HttpServer(handle).connection()
        connection.connection_made(_Transport())  # type: ignore[arg-type]
        stages = {
            "HTTP": quickest(lambda raw=raw, connection=connection: connection.data_received(raw)),  # type: ignore[misc]
            "JSON in": quickest(lambda body=body: jsonin.predict_input(body, lambda _: signature.inputs)),  # type: ignore[misc]
            "session": quickest(lambda: session(True)),
            "JSON out": quickest(lambda outputs=outputs: jsonout.predictions(outputs)),  # type: ignore[misc]
        }
        pooled = quickest(lambda: session(False), rounds=5)
        total = sum(stages.values())
        parts = "   ".join(f"{name} {micros:6.1f} ({micros / total:4.0%})" for name, micros in stages.items())
        print(
            f"  {rows:2} row{'s' if rows > 1 else ' '}  {parts}   together {total:6.1f} µs;"
            f" session in the pool {pooled:6.1f} µs"
        )
    print(
        "  What limits it: one thread holds Python's lock for everything but the session, so a second core serves\n"
        "  the clients and the kernel only. For one row it is the session, then JSON (half in, half out); with more\n"
        "  rows the printing of floats, with six and with nine digits to find the shorter text that reads back.\n"
        "  A run in the pool (loops, large inputs, batching) costs two more thread switches, and keeps other threads'\n"
        "  Python from the lock at its beginning and end only."
    )
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
