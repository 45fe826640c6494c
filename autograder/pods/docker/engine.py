"""The Docker engine: finding it, labelling what is ours, and the broom for what a killed run left behind.

Everything of ours carries labels: the course's name, this machine and user, and the file whose lock the run holds while
it lives. A submission has no access to the engine, so it can make no label; and whoever does could only name a lock
that a living run of this user holds. What carries a lock that nobody holds belongs to a run that is no more.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autograder.errors import GraderError, MachineError

if TYPE_CHECKING:
    import docker
    from testcontainers.core.docker_client import DockerClient

OURS = "model-deployment.pod"
MACHINE = "model-deployment.machine"
LOCK = "model-deployment.lock"
SOCKETS = ("/var/run/docker.sock", "~/.docker/config.json", "~/.docker/run/docker.sock")


@dataclass(frozen=True)
class Engine:
    """A Docker engine that answers.

    Attributes:
        containers: testcontainers' client, which makes and starts containers.
        version: the engine's version.
        platform: its own, ``linux/amd64``.
    """

    containers: DockerClient
    version: str
    platform: str

    @cached_property
    def cores(self) -> int:
        """Its processors."""
        return int(self.client.info()["NCPU"])

    @property
    def client(self) -> docker.DockerClient:
        """Docker's own client."""
        return self.containers.client

    def answers(self) -> bool:
        """Whether it is still there, asked over a new connection."""
        import docker
        from docker.errors import DockerException
        from requests import RequestException

        try:
            fresh = docker.from_env(timeout=10)
        except (DockerException, OSError):
            return False
        try:
            return bool(fresh.ping())
        except (DockerException, RequestException, OSError):
            return False
        finally:
            fresh.close()


def connect() -> Engine:
    """The machine's engine. Raises MachineError when none answers."""
    hint = "Start Docker (`make doctor` says how), or use RUNTIME=local."
    if "DOCKER_HOST" not in os.environ and not any(Path(path).expanduser().exists() for path in SOCKETS):
        raise MachineError("There is no Docker engine on this machine.", "An engine that answers.", hint)
    from docker.errors import DockerException
    from requests import RequestException
    from testcontainers.core.docker_client import DockerClient

    try:
        containers = DockerClient()
        told = containers.client.version()
        return Engine(containers, str(told["Version"]), f"{told['Os']}/{told['Arch']}")
    except (DockerException, RequestException, OSError, KeyError) as error:
        raise MachineError(f"The Docker engine does not answer: {error}.", "An engine that answers.", hint) from error


@contextlib.contextmanager
def failures(what: str) -> Iterator[None]:
    """The engine's errors as ours. Raises GraderError."""
    from docker.errors import DockerException
    from requests import RequestException

    try:
        yield
    except (DockerException, RequestException, OSError) as error:
        raise GraderError(f"Docker failed: {what}: {error}.", "", "Run it again; `make doctor` looks at it.") from error


def labels(lock: Path) -> dict[str, str]:
    """The labels of everything that the holder of ``lock`` makes."""
    return {OURS: lock.stem, MACHINE: _machine(), LOCK: str(lock)}


def _machine() -> str:
    """This machine and user, so that nobody cleans up after somebody else who uses the same engine."""
    known = [Path(path) for path in ("/etc/machine-id", "/var/lib/dbus/machine-id")]
    identity = next((path.read_text() for path in known if path.is_file()), "") or platform.node()
    return hashlib.sha256(f"{identity.strip()}\0{platform.node()}\0{os.getuid()}".encode()).hexdigest()[:16]


def sweep(engine: Engine) -> int:
    """Removes what runs left that were killed; gives how many containers, volumes and images that were."""
    mine = {"label": [OURS, f"{MACHINE}={_machine()}"]}
    with failures("looking for what a killed run left"):
        containers = engine.client.containers.list(all=True, filters=mine, sparse=True)
        volumes = engine.client.volumes.list(filters=mine)
        left = [found for found in containers if not _held(found.attrs["Labels"][LOCK])]
        left_volumes = [found for found in volumes if not _held(found.attrs["Labels"][LOCK])]
    remove(left, left_volumes)
    with failures("removing images that a killed run left"):
        left_images = remove_images(engine, mine, unless_held=True)
    return len(left) + len(left_volumes) + left_images


def remove_images(engine: Engine, filters: dict[str, list[str]], *, unless_held: bool = False) -> int:
    """Removes images by their labels, children before parents; gives how many there were."""
    from docker.errors import DockerException
    from requests import RequestException

    api = engine.client.api
    found = sorted(api.images(all=True, filters=filters), key=lambda image: -int(image["Created"]))
    found = [image for image in found if not (unless_held and _held(image["Labels"][LOCK]))]
    left = [image["Id"] for image in found]
    while left:
        before = len(left)
        for image in list(left):
            with contextlib.suppress(DockerException, RequestException, OSError):
                api.remove_image(image, force=True)
        there = {image["Id"] for image in api.images(all=True, filters=filters)}
        left = [image for image in left if image in there]
        if len(left) == before:  # something holds them; the next sweep tries again
            break
    return len(found)


def filters_of(lock: Path) -> dict[str, list[str]]:
    """What has the labels of ``lock``."""
    return {"label": [f"{key}={value}" for key, value in labels(lock).items()]}


def of_pod(engine: Engine, lock: Path) -> tuple[list[Any], list[Any]]:
    """The containers and the volumes that carry the labels of ``lock``."""
    mine = filters_of(lock)
    containers = engine.client.containers.list(all=True, filters=mine, ignore_removed=True)
    return containers, engine.client.volumes.list(filters=mine)


def remove(containers: list[Any], volumes: list[Any]) -> None:
    """Removes containers, whatever they are doing, and then volumes. What stays is left to the next sweep."""
    from docker.errors import DockerException
    from requests import RequestException

    def go(found: Any, **how: bool) -> None:
        with contextlib.suppress(DockerException, RequestException, OSError):
            found.remove(force=True, **how)

    if len(containers) + len(volumes) == 1:  # without a thread: there are none to be had when Python ends
        go(*containers, *volumes, **({"v": True} if containers else {}))
        return
    with ThreadPoolExecutor(8) as executor:
        list(executor.map(lambda container: go(container, v=True), containers))
        list(executor.map(go, volumes))


def _held(lock: str) -> bool:
    """Whether a living process holds the lock."""
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
