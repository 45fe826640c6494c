"""Lab 01's services for ``make up-01``: the student's own where they work, the course's own where they don't yet."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from autograder.checking.digits import nearest_centroid
from autograder.checks.lab_01_serving.materials import MODEL, SECOND, TRAINING_LIMITS
from autograder.errors import CheckFailed, GraderError
from autograder.pods import Limits, Pod, Program
from autograder.services.tfserving import (
    GRPC_PORT,
    METRICS_PATH,
    REST_PORT,
    ModelServer,
    start_model_server,
    start_student_server,
    wait_started,
)

PORTS = (REST_PORT, GRPC_PORT)


def start(pod: Pod, say: Callable[[str], None]) -> dict[str, str]:
    """Starts everything. Gives what there is to look at: a title and an address each.

    Args:
        pod: where; its submission is the student's folder itself.
        say: shows the student one sentence.

    Raises:
        GraderError: not even the course's own server starts.
    """
    for name in (MODEL, SECOND):
        base = pod.outside(f"/models/{name}")
        base.mkdir(parents=True, exist_ok=True)
        if not any(entry.name.isdecimal() for entry in base.iterdir()):
            train = _train(pod, say) if name == MODEL else False
            if not train:
                nearest_centroid().save(base / "1")
    server = _serve(pod, say)
    return {
        "status of your model": server.path(MODEL),
        "its metadata": server.path(MODEL, then="/metadata"),
        "the baseline": server.path(SECOND),
        "metrics": server.url + METRICS_PATH,
        "gRPC": f"localhost:{GRPC_PORT}",
    }


def _train(pod: Pod, say: Callable[[str], None]) -> bool:
    """Runs the student's training; says what is wrong when it publishes nothing."""
    say("Training your model with train.py …")
    target = pod.outside(f"/models/{MODEL}/1")
    argv = ("python", "train.py", "--out", pod.inside(f"/models/{MODEL}/1"))
    finished = pod.run(Program(argv, limits=TRAINING_LIMITS))
    if finished.ok and (target / "saved_model.pb").is_file():
        return True
    shutil.rmtree(target, ignore_errors=True)
    last = finished.tail(1) or "it printed nothing"
    say(f"train.py {finished.ending()} ({last}). For now {MODEL} is the course's own small model.")
    return False


def _serve(pod: Pod, say: Callable[[str], None]) -> ModelServer:
    limits = Limits(seconds=None, cpu_seconds=10**6)
    server = start_student_server(pod, limits)
    try:
        wait_started(server, MODEL)
    except CheckFailed as error:
        server.running.kill()
        first = error.saw.splitlines()[0].removesuffix(" It printed:")
        say(f"{first} For now the server runs with the course's own flags.")
    else:
        return server
    config = "model_config_list { "
    for name in (MODEL, SECOND):
        config += f'config {{ name: "{name}" base_path: "/models/{name}" model_platform: "tensorflow" }} '
    server = start_model_server(pod, (REST_PORT, GRPC_PORT), config + "}", limits)
    try:
        wait_started(server, MODEL)
    except CheckFailed as error:
        raise GraderError(f"The model server does not start: {server.running.log()[-500:]}") from error
    return server
