"""Which runtime a run gets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from autograder.errors import GraderError, MachineError, UsageError
from autograder.pods.base import Pod
from autograder.pods.local import LocalPod, LocalRuntime
from autograder.pods.runtime import Runtime

RUNTIMES = ("auto", "local", "docker")


def wanted(name: str = "auto") -> str:
    """The runtime that was asked for: by name, or else by the variable ``RUNTIME`` of the environment.

    Raises:
        UsageError: there is no such runtime.
    """
    where = "The runtime that was asked for"
    if name == "auto":
        name, where = os.environ.get("RUNTIME") or "auto", "The variable RUNTIME"
    if name not in RUNTIMES:
        raise UsageError(
            f"{where} is “{name}”.",
            f"One of {', '.join(RUNTIMES)}.",
            "Leave it out: auto is Docker where an engine answers and has the images, and otherwise local.",
        )
    return name


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
        place.versions["docker"] = _lacking(missing)
    return place


def open_pod(
    name: str,
    services: Iterable[str],
    folder: Path,
    lock: Path,
    elsewhere: Mapping[str, Path],
    ports: Iterable[int],
    *,
    as_here: Iterable[Path] = (),
    say: Callable[[str], None],
) -> Pod:
    """A pod for a student at work, on folders and ports of this machine, in the runtime of that name.

    ``auto`` is Docker where an engine answers, has the images and can use this machine's folders and ports; otherwise
    local.

    Args:
        name: ``auto``, ``local`` or ``docker``.
        services: what will run in it, by the names of images.
        folder: for the pod's own files.
        lock: the file whose lock this process holds for as long as the pod lives.
        elsewhere: top folders of the pod that are other folders of this machine.
        ports: what this machine reaches of it.
        as_here: folders of this machine that programs in the pod find under the same name.
        say: shows the student a sentence about an engine that is there and can't be used.

    Raises:
        MachineError: Docker was asked for by name, and this machine lacks something.
        GraderError: Docker was asked for by name, and the engine failed.
    """
    if name != "local":
        from autograder.pods.docker.open import OpenPod
        from autograder.pods.docker.runtime import DockerRuntime
        from autograder.pods.images import ImagesMissing

        found = None
        try:
            found = DockerRuntime.available(services)
            return OpenPod(found.engine, found.images, lock, folder, elsewhere, ports, as_here)
        except (MachineError, GraderError) as error:
            if name == "docker":
                raise
            if isinstance(error, ImagesMissing):
                say(f"This runs without Docker: {_lacking(error.titles)}.")
            elif found is not None:
                say(f"This runs without Docker. {error.saw}")
    return LocalPod(folder, elsewhere=elsewhere)


def _lacking(titles: Iterable[str]) -> str:
    return f"the engine answers, but has no image for {' and '.join(titles)}: run `make images`"
