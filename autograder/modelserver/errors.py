"""What can go wrong, as TensorFlow Serving reports it: a canonical code and a text.

ModelServerError            base: anything this server reports
├── StatusError             one canonical status: what REST and gRPC clients receive
└── StartError              the server cannot start; ends the process with exit code 255
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Code(IntEnum):
    """Canonical status codes (absl::StatusCode); gRPC uses the same numbers."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


HTTP_STATUS: Final[dict[Code, int]] = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}
"""The HTTP status of a code, as tensorflow_serving/model_servers/http_server.cc maps it."""


class ModelServerError(Exception):
    """Anything this server reports about itself or a request."""


class StatusError(ModelServerError):
    """A failed request or load: `code` and `message` are what the client receives."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        """The way absl::Status prints: `INVALID_ARGUMENT: the message`."""
        return f"{self.code.name}: {self.message}"


class StartError(ModelServerError):
    """The server cannot start. `str()` is the line that the real server prints."""


def invalid_argument(message: str) -> StatusError:
    """The most frequent failure: the request is wrong."""
    return StatusError(Code.INVALID_ARGUMENT, message)


def not_found(message: str) -> StatusError:
    """No such model, version or file."""
    return StatusError(Code.NOT_FOUND, message)
