"""A model server of the course's with the student's ``models.config``: where ``publish.py`` moves labels.

Each move takes the second that a server waits before it looks at its config file again. Here they take it while the
student's own server is busy with other checks.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from autograder.checking.shelf import Shelf, generator
from autograder.checks.lab_01_serving.materials import MODEL, SECOND
from autograder.pods import SERVICE, Pod, Program
from autograder.ports import free_ports
from autograder.services.tfserving import ModelServer
from autograder.waiting import fail

BASE = "/course/labelled"


@dataclass(frozen=True)
class LabelServer:
    """The server, and what it serves.

    Attributes:
        server: how to talk to it.
        pod: where it runs.
        config: its config file; it lies in a folder that the student's programs may write to.
        shelf: the versions of ``digits``: two.
    """

    server: ModelServer
    pod: Pod
    config: str
    shelf: Shelf

    def options(self) -> tuple[str, ...]:
        """What tells ``publish.py`` about it."""
        return "--config", self.pod.inside(self.config), "--url", self.server.url

    def content(self) -> bytes:
        """What its config file says. Fails the check when it is gone."""
        try:
            return self.pod.read(self.config)
        except OSError as error:
            fail(f"The config file can't be read any more: {error.strerror}.", "It is replaced in one step.")


def start_label_server(pod: Pod, seed: int, models_config: bytes) -> LabelServer:
    """Starts it with the student's config file, in which only the folders are others.

    Raises:
        CheckFailed: it does not serve both versions.
    """
    shelves = {}
    for name in (MODEL, SECOND):
        rng = generator(seed, f"labelled {name}")
        pod.outside(f"{BASE}/{name}").mkdir(parents=True)
        shelves[name] = Shelf(pod, f"{BASE}/{name}", rng, int(rng.integers(2, 40)))
        shelves[name].put()
    shelves[MODEL].put()
    config = _place(pod, models_config.replace(b"/models/", pod.inside(BASE).encode() + b"/"))
    rest, grpc = free_ports(2)
    argv = (
        "tensorflow_model_server",
        f"--rest_api_port={rest}",
        f"--port={grpc}",
        f"--model_config_file={pod.inside(config)}",
        "--model_config_file_poll_wait_seconds=1",
        "--file_system_poll_wait_seconds=1",
        "--allow_version_labels_for_unavailable_models=true",
    )
    # It reads what the student wrote: so it is no more than the student's own programs are.
    running = pod.start(Program(argv, cwd="/course", limits=SERVICE, service="tfserving"))
    server = ModelServer(running, rest, grpc, "A server with your models.config")
    for version in shelves[MODEL].models:
        server.wait_available(
            MODEL,
            version,
            hint="A version policy that keeps the two latest versions: "
            "model_version_policy { latest { num_versions: 2 } }",
        )
    return LabelServer(server, pod, config, shelves[MODEL])


def _place(pod: Pod, content: bytes) -> str:
    """Writes the config file into a new folder of the student's; gives the file's path in the pod."""
    folder = f"/tmp/labels-{secrets.token_hex(4)}"
    try:
        pod.outside(folder).mkdir()
        pod.outside(f"{folder}/models.config").write_bytes(content)
    except OSError as error:
        fail(
            f"A copy of models.config can't be made in /tmp: {error.strerror}.", "Your programs leave some room there."
        )
    pod.grant(folder)
    return f"{folder}/models.config"
