"""Hidden checks of lab 01 about warm-up: the export carries requests, and the server replays them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from autograder.checking import EvidenceBox, check, fail
from autograder.checking.shelf import Array, Shelf
from autograder.checks.lab_01_serving.beginning import OURS, CourseServer, StudentServer
from autograder.checks.lab_01_serving.materials import MODEL
from autograder.checks.lab_01_serving.visible import export_is_a_saved_model, serve_sh_serves
from autograder.services.savedmodel import random_dense
from autograder.services.tfserving import ModelServer
from autograder.services.warmup import PATH, warm_up_requests
from autograder.waiting import polling


@check(
    "warm-up",
    skill=12,
    points=3,
    needs=[export_is_a_saved_model],
    hint=f"A TFRecord file of PredictionLog messages at {PATH}, inside the version.",
)
def the_export_carries_warm_up_requests(
    course: CourseServer, export: Path, load_export: Callable[[], int], seed: int, evidence: EvidenceBox
) -> None:
    """The export carries warm-up requests, which its own model can answer."""
    requests = export / PATH
    if not requests.is_file() or not requests.stat().st_size:
        fail(f"The export has no {PATH}.", "Requests to replay.")
    state, message = refuse_misfit(course.server, OURS, course.shelf, requests.read_bytes(), seed)
    evidence.text("A model of another shape, with your requests", f"{state} {message}")
    if state == "AVAILABLE":
        fail(
            f"With your {PATH}, a server loads a model that could not answer any such request: it replayed none.",
            "At least one request is replayed.",
            "Is it a TFRecord file with at least one PredictionLog, and in it a predict_log?",
        )
    load_export()  # your own model can answer them


@check(
    "replays-warm-up",
    skill=12,
    points=3,
    needs=[serve_sh_serves],
    last=True,
    hint="The server replays by default. Does serve.sh leave --enable_model_warmup on?",
)
def the_server_replays_warm_up_requests(
    student: StudentServer, shelves: dict[str, Shelf], pixels: Array, seed: int, evidence: EvidenceBox
) -> None:
    """The server of `serve.sh` replays a version's warm-up requests before the version is available."""
    requests = warm_up_requests(MODEL, "pixels", pixels)
    state, message = refuse_misfit(student.idle(), MODEL, shelves[MODEL], requests, seed)
    evidence.text("A version that can't answer its own warm-up requests", f"{state} {message}")
    if state == "AVAILABLE":
        fail(
            "A version that can't answer its warm-up requests became AVAILABLE: they were not replayed.",
            "Each version answers its warm-up requests before it is available.",
        )


def refuse_misfit(server: ModelServer, name: str, shelf: Shelf, requests: bytes, seed: int) -> tuple[str, str]:
    """Publishes a version with warm-up requests that are not for such a model, until the server has made up its mind.

    A server that replays them refuses the version; one that does not serves it.

    Returns:
        The version's state and its message.
    """
    version = shelf.take_number()
    misfit = random_dense(np.random.default_rng(seed), 7, 3, ("something_else", "scores"))
    misfit.save(shelf.staging(version))
    target = shelf.staging(version) / PATH
    target.parent.mkdir()
    target.write_bytes(requests)
    shelf.reveal(version)
    loading_since = 0.0

    def look() -> tuple[str, str] | None:
        nonlocal loading_since
        state, message = server.states(name).get(version, ("", ""))
        if state in ("AVAILABLE", "END"):
            return state, message
        if state == "LOADING":
            loading_since = loading_since or time.monotonic()
            # A model of six nodes loads in milliseconds: it is being tried again and again.
            if time.monotonic() - loading_since > 8:
                return state, message
        return None

    try:
        return polling(
            look,
            seconds=60,
            saw="The server took no notice of a new version for a minute.",
            expected="It looks at its folders again and again: --file_system_poll_wait_seconds=1.",
        )
    finally:
        shelf.remove(version)
