"""What the worker and the steward say to each other: a line of JSON each, about containers of services."""

from __future__ import annotations

from typing import Literal

from pydantic import Base64Bytes, BaseModel, ConfigDict

from autograder.pods.program import Limits


class Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Start(Message):
    """A container to start.

    Attributes:
        id: the worker's number for it.
        service: the image, by its name in the catalogue.
        argv, env, cwd, limits, ours: as in ``Program``.
    """

    id: int
    service: str
    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    limits: Limits
    ours: bool


class Signal(Message):
    """A signal for the program of a container."""

    id: int
    name: Literal["SIGTERM", "SIGKILL"]


class Ask(Message):
    """From the worker: exactly one of these is set."""

    start: Start | None = None
    signal: Signal | None = None


class Tell(Message):
    """From the steward, about container ``id``: something that it printed, or how it ended.

    Attributes:
        out, err: bytes of standard output and standard error.
        exit_code: it ended, and how.
        stopped: why the steward or the kernel ended it, as a clause.
        lost: the engine failed, so nobody can say how it ended.
    """

    id: int
    out: Base64Bytes | None = None
    err: Base64Bytes | None = None
    exit_code: int | None = None
    stopped: str = ""
    lost: str = ""
