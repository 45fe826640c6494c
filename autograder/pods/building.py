"""What an image is made from and what came of it, as data: a student's Dockerfile, built in a pod."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from autograder.pods.program import MiB


@dataclass(frozen=True)
class Build:
    """An image to make.

    Attributes:
        context: the folder of the submission that holds the Dockerfile, ``/submission`` or one below it.
        extra: files that are laid beside the student's, as developers have them on disk: ``{".env": b"API_KEY=…"}``.
        needles: what is searched for in everything that the image keeps: its layers, also what a later one deletes,
            its configuration and its history.
        seconds: how long its RUN commands may take together; what the engine takes is not counted.
        memory: bytes of memory for each step.
        context_size: bytes of the context, without what ``.dockerignore`` leaves out.
        added_size: bytes that the steps may add to the disk.
    """

    context: str = "/submission"
    extra: Mapping[str, bytes] = field(default_factory=dict)
    needles: tuple[bytes, ...] = ()
    seconds: float = 240.0
    memory: int = 1024 * MiB
    context_size: int = 64 * MiB
    added_size: int = 256 * MiB


@dataclass(frozen=True)
class Built:
    """What came of a build. What failed for no fault of the student's is a GraderError, and never this.

    Attributes:
        ok: whether there is an image.
        problem: what was wrong, in sentences for the student; empty when it is ok.
        log: what the building printed, its beginning and its end.
        argv: what a container of the image runs: ENTRYPOINT and CMD, a shell form as ``("/bin/sh", "-c", …)``.
        env: its variables, the base image's among them.
        workdir: the folder it starts in.
        user: what USER says last; empty when nothing does.
        healthcheck: the command of HEALTHCHECK, likewise; empty when there is none.
        found: the needles that were found.
        real: an engine built it; otherwise the Dockerfile was read and carried out without one.
        image: the pod's name for it.
    """

    ok: bool
    problem: str = ""
    log: str = ""
    argv: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = ""
    healthcheck: tuple[str, ...] = ()
    found: tuple[bytes, ...] = ()
    real: bool = False
    image: str = ""
