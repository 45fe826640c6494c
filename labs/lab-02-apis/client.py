"""A typed client for the digits API, and a command line around it.

    ApiError                  anything that goes wrong; raised itself when nothing below fits
    ├── InvalidRequest        422 or 413: the API won't take this request, today or tomorrow
    ├── NotAllowed            401 or 403: the key is missing, or wrong
    ├── Unavailable           503, or nobody listens: also after the last attempt
    └── DeadlineExceeded      504, or the whole answer was not there in time

`predict` tries again after a 503 and when no connection was to be had, and at no other time. It waits as long as
`Retry-After` says, makes three attempts at most, and ends within its timeout. When no time is left for another attempt,
the error is that of the last one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from typing import Any

import httpx

ATTEMPTS = 3


class ApiError(Exception):
    """Anything that goes wrong between the caller and the model."""


class InvalidRequest(ApiError):
    """422 or 413: the API won't take this request."""


class NotAllowed(ApiError):
    """401 or 403: the key is missing, or wrong."""


class Unavailable(ApiError):
    """503, or nobody listens."""

    def __init__(self, message: str, wait: float) -> None:
        super().__init__(message)
        self.wait = wait  # seconds before it makes sense to try again


class DeadlineExceeded(ApiError):
    """504, or the whole answer was not there in time."""


class Client:
    """Ask the API.

    Args:
        url: where it listens.
        key: what it wants as `X-API-Key`.
        timeout: seconds for `predict` as a whole, retries and waiting included.
    """

    def __init__(self, url: str, key: str, timeout: float = 10.0) -> None:
        self._url, self._timeout = url.rstrip("/"), timeout
        self._client = httpx.Client(headers={"X-API-Key": key}, trust_env=False)

    def predict(self, images: list[Any]) -> dict[str, Any]:
        """Give the API's answer: `predictions`, `model_version` and `request_id`.

        Raises:
            ApiError: one of its subclasses, see the top of this file.
        """
        # YOUR CODE HERE
        raise NotImplementedError("client.py: a part is still to be written")

    # YOUR CODE HERE


# YOUR CODE HERE


def main() -> int:
    """`python client.py [--url URL] [--timeout SECONDS] predict` reads a JSON list of images; see the README."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--url", default="http://localhost:8000")
    parser.add_argument("--timeout", type=float, default=10.0)
    parser.add_argument("command", choices=["predict"])
    options = parser.parse_args()
    # From the environment: what stands on a command line can be read by everybody on the machine.
    client = Client(options.url, os.environ.get("API_KEY", ""), options.timeout)
    try:
        print(json.dumps(client.predict(json.load(sys.stdin))))
    except ApiError as error:
        print(json.dumps({"error": type(error).__name__, "message": str(error)}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
