"""TensorFlow Serving: the student's, started by ``serve.sh``, and the course's own beside it.

Source for paths and fields: TensorFlow Serving's REST and gRPC API reference.
"""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autograder.pods import SERVICE, Limits, Pod, Program, Running
from autograder.services import wire
from autograder.services.http import Answer, ask
from autograder.services.savedmodel import tensor_proto
from autograder.waiting import polling

REST_PORT, GRPC_PORT = 8501, 8500
START_SECONDS = 30.0
METRICS_PATH = "/monitoring/prometheus/metrics"
DT_FLOAT = 1
LARGEST_TENSOR = 10_000_000
Array = NDArray[np.float32]


@dataclass
class ModelServer:
    """A model server that runs in a pod, and how to talk to it.

    Attributes:
        running: its process.
        port: its REST port.
        grpc_port: its gRPC port.
        name: what messages call it.
    """

    running: Running
    port: int
    grpc_port: int
    name: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def path(self, model: str, *, version: int | None = None, label: str | None = None, then: str = "") -> str:
        which = f"/versions/{version}" if version is not None else f"/labels/{label}" if label is not None else ""
        return f"{self.url}/v1/models/{model}{which}{then}"

    def ask(self, model: str, body: Any, *, version: int | None = None, label: str | None = None) -> Answer:
        """A ``:predict`` with any body."""
        return ask(self.path(model, version=version, label=label, then=":predict"), body)

    def states(self, model: str) -> dict[int, tuple[str, str]]:
        """The state and the error message of each version; empty while the server says nothing sensible."""
        answer = ask(self.path(model)).json
        found = {}
        if isinstance(answer, dict) and isinstance(answer.get("model_version_status"), list):
            for item in answer["model_version_status"]:
                try:
                    found[int(item["version"])] = (str(item["state"]), str(item["status"]["error_message"]))
                except (KeyError, TypeError, ValueError):
                    continue
        return found

    def wait_available(self, model: str, version: int, *, seconds: float = 30.0, hint: str = "") -> None:
        """Waits until the server says that it serves a version. Raises CheckFailed when it never does."""

        def look() -> bool | None:
            return True if self.states(model).get(version, ("", ""))[0] == "AVAILABLE" else None

        def saw() -> str:
            if not self.running.alive:
                return f"{self.name} {self.running.finished().ending()} before version {version} of {model} was there."
            states = ", ".join(f"{number} {state}" for number, (state, _) in sorted(self.states(model).items()))
            return (
                f"{self.name} never reported version {version} of {model} as AVAILABLE; it says: {states or 'nothing'}."
            )

        polling(
            look,
            seconds=seconds,
            saw=saw,
            expected=f"Version {version} of {model} is AVAILABLE.",
            hint=hint,
            give_up=lambda: not self.running.alive,
        )

    def metrics(self, path: str = METRICS_PATH) -> dict[str, float]:
        """Every sample of its Prometheus page, by name and labels as written; empty when there is no such page."""
        answer = ask(self.url + path)
        if answer.status != 200:
            return {}
        samples = re.findall(r"^([^#\s][^\s{]*(?:\{[^\n]*\})?) (\S+)$", answer.text, re.MULTILINE)
        found = {}
        for name, value in samples:
            try:
                found[name] = float(value)
            except ValueError:
                continue
        return found

    def grpc_predict(self, model: str, rows: Array, input_name: str, *, seconds: float = 30.0) -> dict[str, Array]:
        """``PredictionService.Predict`` over gRPC. Raises GrpcError with the server's own words."""
        import grpc  # 0.1 s that only this check needs

        request = wire.field(1, wire.field(1, model.encode())) + wire.entry(2, input_name, tensor_proto(rows))
        options = [("grpc.max_receive_message_length", 64 << 20), ("grpc.enable_http_proxy", 0)]
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}", options=options) as channel:
            method = "/tensorflow.serving.PredictionService/Predict"
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
            try:
                answer = call(request, timeout=seconds, wait_for_ready=False)
            except grpc.RpcError as error:
                raise GrpcError(f"{error.code().name}: {error.details()}") from None
        outputs = {}
        for item in wire.messages(answer, 1):
            name, tensor = (next(wire.messages(item, tag), b"") for tag in (1, 2))
            outputs[name.decode("utf-8", "replace")] = _array(tensor)
        return outputs


class GrpcError(Exception):
    """A gRPC call that failed, with its status and its details."""


def _array(tensor: bytes) -> Array:
    """A TensorProto of floats, from a server that is not to be trusted. Raises ValueError when it is none."""
    kind = next((value for tag, value in wire.fields(tensor) if tag == 1), 0)
    if kind != DT_FLOAT:
        raise ValueError(f"a tensor of type {kind!r}, not DT_FLOAT")
    sizes = []
    for shape in wire.messages(tensor, 2):
        for dimension in wire.messages(shape, 2):
            sizes += [size for tag, size in wire.fields(dimension) if tag == 1 and isinstance(size, int)]
    content = b"".join(wire.messages(tensor, 4)) or b"".join(wire.messages(tensor, 5))
    if len(content) % 4 or math.prod(sizes) > LARGEST_TENSOR:
        raise ValueError(f"{len(content)} bytes for a tensor of shape {sizes}")
    values = np.frombuffer(content, dtype="<f4")
    if values.size == 1:  # protobuf's short form of a tensor whose values are all the same
        values = np.repeat(values, math.prod(sizes))
    return values.reshape(sizes)


def start_student_server(pod: Pod, limits: Limits = SERVICE) -> ModelServer:
    """Runs ``bash serve.sh``; comes back at once."""
    running = pod.start(Program(("bash", "serve.sh"), limits=limits, service="tfserving"))
    return ModelServer(running, REST_PORT, GRPC_PORT, "The server that serve.sh starts")


def wait_started(server: ModelServer, model: str) -> dict[int, str]:
    """Waits until any version of a model is AVAILABLE; gives the states by version. Raises CheckFailed."""

    def look() -> dict[int, str] | None:
        states = {version: state for version, (state, _) in server.states(model).items()}
        return states if "AVAILABLE" in states.values() else None

    def saw() -> str:
        if not server.running.alive:
            finished = server.running.finished()
            said = finished.tail(6)
            return f"serve.sh {finished.ending()}." + (f" It printed:\n{said}" if said else " It printed nothing.")
        answer = ask(server.path(model))
        last = (server.running.log().strip().splitlines() or ["(nothing)"])[-1]
        return f"After {START_SECONDS:g} seconds, GET {server.path(model)} gave: {answer}\nThe log's last line: {last}"

    return polling(
        look,
        seconds=START_SECONDS,
        saw=saw,
        expected=f"serve.sh stays in the foreground, and {model} is AVAILABLE on REST port {server.port}.",
        pause=0.01,
        give_up=lambda: not server.running.alive,
    )


def start_model_server(pod: Pod, ports: tuple[int, int], config: str, limits: Limits = SERVICE) -> ModelServer:
    """A model server of the course's own, for what has nothing to do with ``serve.sh``.

    Args:
        pod: where it runs.
        ports: its REST and its gRPC port.
        config: the text of its model config file.
        limits: how much of the machine it may use.
    """
    pod.outside("/course/models.config").write_text(config)
    pod.outside("/course/monitoring.config").write_text(f'prometheus_config {{ enable: true path: "{METRICS_PATH}" }}')
    argv = (
        "tensorflow_model_server",
        f"--rest_api_port={ports[0]}",
        f"--port={ports[1]}",
        f"--model_config_file={pod.inside('/course/models.config')}",
        f"--monitoring_config_file={pod.inside('/course/monitoring.config')}",
        "--file_system_poll_wait_seconds=1",
        "--max_num_load_retries=0",
    )
    program = Program(argv, cwd="/course", limits=limits, service="tfserving", ours=True)
    running = pod.start(program)
    return ModelServer(running, *ports, "The course's own model server")


def version_of(server: ModelServer) -> str:
    """What the server says it is, from its log: its version string, or the first line."""
    deadline = time.monotonic() + 1
    while not server.running.log() and time.monotonic() < deadline:
        time.sleep(0.01)
    lines = server.running.log().splitlines()
    return lines[0][:200] if lines else "unknown"
