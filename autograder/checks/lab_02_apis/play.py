"""Lab 02's services for ``make up-02``: a model server to ask; the API in front of it is the student's to start."""

from __future__ import annotations

from collections.abc import Callable

from autograder.checking.digits import MODEL, nearest_centroid
from autograder.errors import CheckFailed, GraderError
from autograder.pods import Limits, Pod
from autograder.services.tfserving import GRPC_PORT, METRICS_PATH, REST_PORT, start_model_server, wait_started

PORTS = (REST_PORT, GRPC_PORT)


def start(pod: Pod, say: Callable[[str], None]) -> dict[str, str]:
    """Starts the model server. Gives what there is to look at: a title and an address each.

    Args:
        pod: where; its ``/models`` is the folder ``models`` of the student's.
        say: shows the student one sentence.

    Raises:
        GraderError: the model server does not start.
    """
    base = pod.outside(f"/models/{MODEL}")
    base.mkdir(parents=True, exist_ok=True)
    if not any(entry.name.isdecimal() for entry in base.iterdir()):
        nearest_centroid().save(base / "1")
        say(f"models/{MODEL} was empty, so version 1 is a small model of the course's. A higher number takes over.")
    config = f'model_config_list {{ config {{ name: "{MODEL}" base_path: "{pod.inside(f"/models/{MODEL}")}" '
    config += 'model_platform: "tensorflow" } }'
    server = start_model_server(pod, PORTS, config, Limits(seconds=None, cpu_seconds=10**6))
    try:
        wait_started(server, MODEL)
    except CheckFailed as error:
        raise GraderError(f"The model server does not start: {server.running.log()[-500:]}") from error
    return {
        "status of the model": server.path(MODEL),
        "its metadata": server.path(MODEL, then="/metadata"),
        "metrics": server.url + METRICS_PATH,
        "gRPC": f"localhost:{GRPC_PORT}",
    }
