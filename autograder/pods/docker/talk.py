"""What the worker and the steward say to each other: a line of JSON each, about containers of services.

Dataclasses, and bytes in base64: the worker says its first words before it has imported pydantic, with which the
steward reads them.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

from autograder.pods.program import Limits


@dataclass(frozen=True)
class Message:
    """What holds for every message where pydantic reads it."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid", "val_json_bytes": "base64"}

    def line(self) -> str:
        """The message as one line."""
        return json.dumps(asdict(self), default=lambda data: base64.urlsafe_b64encode(data).decode())


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class Make(Message):
    """An image to build.

    Attributes:
        id: the worker's number for it.
        folder: the build context, below the submission.
        extra, needles, seconds, memory, context_size, added_size: as in ``Build``.
    """

    id: int
    folder: str
    extra: dict[str, bytes]
    needles: tuple[bytes, ...]
    seconds: float
    memory: int
    context_size: int
    added_size: int


@dataclass(frozen=True)
class Made(Message):
    """What came of it, as in ``Built``.

    Attributes:
        found: which of the needles were found, by their numbers.
    """

    problem: str = ""
    log: str = ""
    argv: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = ""
    healthcheck: tuple[str, ...] = ()
    found: tuple[int, ...] = ()


@dataclass(frozen=True)
class Signal(Message):
    """A signal for the program of a container."""

    id: int
    name: Literal["SIGTERM", "SIGKILL"]


@dataclass(frozen=True)
class Ask(Message):
    """From the worker: exactly one of these is set.

    Attributes:
        yard: the container for student programs is to be started.
    """

    start: Start | None = None
    signal: Signal | None = None
    make: Make | None = None
    yard: bool = False


@dataclass(frozen=True)
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
    out: bytes | None = None
    err: bytes | None = None
    exit_code: int | None = None
    stopped: str = ""
    lost: str = ""
    made: Made | None = None

    @classmethod
    def read(cls, line: bytes) -> Tell:
        """The message from its line, by the worker, who trusts the steward."""
        told: dict[str, Any] = json.loads(line)
        for name in ("out", "err"):
            if told[name] is not None:
                told[name] = base64.urlsafe_b64decode(told[name])
        if (made := told["made"]) is not None:
            told["made"] = Made(**made | {name: tuple(made[name]) for name in ("argv", "healthcheck", "found")})
        return cls(**told)
