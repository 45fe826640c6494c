"""Which runtime a run gets."""

from __future__ import annotations

from collections.abc import Iterable

from autograder.errors import GraderError, MachineError
from autograder.pods.local import LocalRuntime
from autograder.pods.runtime import Runtime


def choose(name: str, services: Iterable[str]) -> Runtime:
    """The runtime of that name; ``auto`` is Docker where an engine answers and has the images, otherwise local.

    A local runtime that only lacks images to be Docker says so among its versions.

    Raises:
        MachineError: it was asked for by name, and this machine lacks something.
        GraderError: it was asked for by name, and the engine failed.
    """
    missing: list[str] = []
    if name != "local":
        from autograder.pods.docker.runtime import DockerRuntime
        from autograder.pods.images import ImagesMissing

        try:
            return DockerRuntime.available(services)
        except (MachineError, GraderError) as error:
            if name == "docker":
                raise
            if isinstance(error, ImagesMissing):
                missing = error.titles
    place = LocalRuntime()
    if missing:
        lacking = " and ".join(missing)
        place.versions["docker"] = f"the engine answers, but has no image for {lacking}: run `make images`"
    return place
