"""Which runtime a run gets."""

from __future__ import annotations

from collections.abc import Iterable

from autograder.errors import MachineError
from autograder.pods.local import LocalRuntime
from autograder.pods.runtime import Runtime


def choose(name: str, services: Iterable[str]) -> Runtime:
    """The runtime of that name; ``auto`` is Docker where an engine answers and has the images, otherwise local.

    Raises:
        MachineError: it was asked for by name, and this machine lacks something.
    """
    if name != "local":
        from autograder.pods.docker.runtime import DockerRuntime

        try:
            return DockerRuntime.available(services)
        except MachineError:
            if name == "docker":
                raise
    return LocalRuntime()
