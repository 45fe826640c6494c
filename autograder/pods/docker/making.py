"""An image to build, as the worker asks the steward for it, and as the steward's answer comes back."""

from __future__ import annotations

import threading

from autograder.errors import GraderError
from autograder.pods.building import Build, Built
from autograder.pods.docker.talk import Make, Tell

SLACK = 1200.0  # seconds that the engine may take beside what RUN takes; it gives up by itself before


def message(number: int, build: Build) -> Make:
    """What the steward is asked for."""
    top, _, folder = build.context.strip("/").partition("/")
    if top != "submission":
        raise GraderError(f"Only a submission is a build context, and not {build.context}.")
    return Make(
        id=number,
        folder=folder,
        extra=dict(build.extra),
        needles=tuple(build.needles),
        seconds=build.seconds,
        memory=build.memory,
        context_size=build.context_size,
        added_size=build.added_size,
    )


class Making:
    """A build that was asked for."""

    def __init__(self, number: int, build: Build) -> None:
        self._number, self._build = number, build
        self._over = threading.Event()
        self._told: Tell | None = None

    def hear(self, told: Tell) -> None:
        """What the steward says of it."""
        self._told = told
        self._over.set()

    def built(self) -> Built:
        """What came of it. Raises GraderError when the engine failed."""
        self._over.wait(self._build.seconds + SLACK)
        if self._told is None or self._told.made is None:
            raise GraderError(f"The image could not be built: {self._told.lost if self._told else 'no answer came'}.")
        made = self._told.made
        return Built(
            ok=not made.problem,
            problem=made.problem,
            log=made.log,
            argv=made.argv,
            env=made.env,
            workdir=made.workdir,
            user=made.user,
            healthcheck=made.healthcheck,
            found=tuple(self._build.needles[number] for number in made.found),
            real=True,
            image="" if made.problem else str(self._number),
        )
