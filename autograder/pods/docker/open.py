"""A pod for a student at work: containers on the folders of this machine, and on its ports, for this machine alone."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from autograder.errors import GraderError, MachineError, NotRun
from autograder.pods.base import Pod, Running
from autograder.pods.building import Build, Built
from autograder.pods.docker import boxes
from autograder.pods.docker.container import Container
from autograder.pods.docker.engine import Engine, failures, labels, of_pod, remove
from autograder.pods.docker.pod import Service, described
from autograder.pods.docker.talk import Ask, Signal, Tell
from autograder.pods.images import Found
from autograder.pods.program import Program

GATE = Path(__file__).with_name("gate.py")
BEHIND = 10_000  # the gate listens at a service's port and so many


class OpenPod(Pod):
    """A pod of containers whose files are the student's own, and whose ports this machine reaches."""

    runtime = "docker"
    isolation = ("containers of your own user, on your own files",)

    def __init__(
        self,
        engine: Engine,
        images: dict[str, Found],
        lock: Path,
        folder: Path,
        elsewhere: Mapping[str, Path],
        ports: Iterable[int],
        as_here: Iterable[Path] = (),
    ) -> None:
        """
        Args:
            engine: where; it has to see this machine's folders.
            images: what the engine has of what the lab needs, by name.
            lock: the file whose lock this process holds.
            folder: a folder for the pod's own files.
            elsewhere: top folders of the pod that are other folders of this machine.
            ports: what this machine reaches, at its loopback address.
            as_here: folders of this machine that have the same name in the containers.

        Raises:
            MachineError: the engine is on another machine.
            GraderError: the engine failed.
        """
        if os.environ.get("DOCKER_HOST", "unix:").partition(":")[0] not in ("unix", "npipe"):
            raise MachineError(
                f"The Docker engine is on another machine: DOCKER_HOST={os.environ['DOCKER_HOST']}.",
                "An engine that sees your files.",
                "Use RUNTIME=local.",
            )
        self.engine, self.images, self.labels = engine, images, labels(lock)
        self._lock_file, self._folder, self._elsewhere, self._as_here = lock, folder, elsewhere, tuple(as_here)
        self._numbers = itertools.count(1)
        self._services: dict[int, Service] = {}
        self._containers: dict[int, Container] = {}
        self._tasks = ThreadPoolExecutor(4)
        for name in boxes.VOLUMES:
            self.outside(f"/{name}").mkdir(parents=True, exist_ok=True)
        try:
            with failures("opening the ports"):
                self._gate = self.create("python", boxes.gate(GATE, self.who(ours=True), BEHIND, list(ports)))
                self._gate.start()
        except GraderError:
            self.close()
            raise

    # -- for its containers ------------------------------------------------------------------------------------------

    @property
    def namespace(self) -> str:
        return str(self._gate.id)

    def who(self, ours: bool) -> str:
        return f"{os.getuid()}:{os.getgid()}"

    def create(self, image: str, how: dict[str, Any]) -> Any:
        # The kernel would count everything that this user runs, a browser's threads included; Docker counts by itself.
        ulimits = [limit for limit in how.pop("ulimits", ()) if limit.name != "nproc"]
        return self.engine.containers.create(
            self.images[image].id, network=None, labels=self.labels, ulimits=ulimits, **how
        )

    def mounts(self, below: str) -> list[Any]:
        from docker.types import Mount

        there = {below + name: self.outside(f"/{name}") for name in boxes.VOLUMES}
        there |= {str(folder): folder for folder in self._as_here}
        return [Mount(name, str(folder), type="bind") for name, folder in there.items()]

    def tell(self, told: Tell) -> None:
        self._services[told.id].hear(told)

    def submit(self, do: Callable[[Signal], None], signal: Signal) -> None:
        with contextlib.suppress(RuntimeError):  # the pod is being removed
            self._tasks.submit(do, signal)

    # -- for who uses it ---------------------------------------------------------------------------------------------

    def start(self, program: Program) -> Running:
        number = next(self._numbers)
        service = self._services[number] = Service(program, number, self._ask)
        container = self._containers[number] = Container(self, described(program, number))
        threading.Thread(target=container.attend, name=f"service {number}", daemon=True).start()
        return service

    def build(self, build: Build) -> Built:
        raise NotRun("Images are not built in Docker yet.", "", "Use RUNTIME=local.")

    def _ask(self, ask: Ask) -> None:
        if ask.signal is not None:
            self.submit(self._containers[ask.signal.id].signal, ask.signal)

    def inside(self, path: str) -> str:
        return path

    def outside(self, path: str) -> Path:
        assert path.startswith("/"), path
        top, _, rest = path[1:].partition("/")
        return self._elsewhere.get("/" + top, self._folder / top) / rest

    def grant(self, path: str) -> None:
        """Everything is the student's already."""

    def close(self) -> None:
        from docker.errors import DockerException
        from requests import RequestException

        self._tasks.shutdown(wait=False, cancel_futures=True)
        # One after the other: a notebook closes its pod when Python ends, and has no new threads then.
        with contextlib.suppress(DockerException, RequestException, OSError):  # the next sweep takes what stays
            containers, _ = of_pod(self.engine, self._lock_file)
            for container in containers:
                remove([container], [])
