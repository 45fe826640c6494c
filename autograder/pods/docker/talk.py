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
        built: the number of the build whose image it is; empty for one of the catalogue.
    """

    id: int
    service: str
    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    limits: Limits
    ours: bool
    built: str = ""


class Make(Message):
    """An image to build.

    Attributes:
        id: the worker's number for it.
        folder: the build context, below the submission.
        extra, needles, seconds, memory, context_size, added_size: as in ``Build``.
    """

    id: int
    folder: str
    extra: dict[str, Base64Bytes]
    needles: tuple[Base64Bytes, ...]
    seconds: float
    memory: int
    context_size: int
    added_size: int


class Made(Message):
    """What came of it, as in ``Built``.

    Attributes:
        found: which of the needles were found, by their numbers.
    """

    problem: str = ""
    log: str = ""
    argv: tuple[str, ...] = ()
    env: dict[str, str] = {}
    workdir: str = "/"
    user: str = ""
    healthcheck: tuple[str, ...] = ()
    found: tuple[int, ...] = ()


class Signal(Message):
    """A signal for the program of a container."""

    id: int
    name: Literal["SIGTERM", "SIGKILL"]


class Ask(Message):
    """From the worker: exactly one of these is set."""

    start: Start | None = None
    signal: Signal | None = None
    make: Make | None = None


class Tell(Message):
    """From the steward, about container or build ``id``: something that it printed, or how it ended.

    Attributes:
        out, err: bytes of standard output and standard error.
        exit_code: it ended, and how.
        stopped: why the steward or the kernel ended it, as a clause.
        lost: the engine failed, so nobody can say how it ended.
        made: what came of the build.
    """

    id: int
    out: Base64Bytes | None = None
    err: Base64Bytes | None = None
    exit_code: int | None = None
    stopped: str = ""
    lost: str = ""
    made: Made | None = None
