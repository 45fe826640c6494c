"""Hidden checks of lab 01 about what the server answers: the numbers, the quality, gRPC, batching, warm-up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autograder.checking import EvidenceBox, check, fail
from autograder.checking.load import Load
from autograder.checking.shelf import Array, Model, Shelf
from autograder.checks.lab_01_serving.beginning import OURS, CourseServer, StudentServer
from autograder.checks.lab_01_serving.fixtures import TOLERANCE
from autograder.checks.lab_01_serving.materials import MODEL, Digits
from autograder.checks.lab_01_serving.visible import (
    far,
    predictions,
    serve_sh_serves,
    signature_takes_raw_pixels,
)
from autograder.services.tfserving import METRICS_PATH, GrpcError, ModelServer

PROMISED_ACCURACY = 0.92
CLIENTS = 16  # of the load under which requests have to share batches


@check(
    "own-answer",
    skill=3,
    points=5,
    needs=[serve_sh_serves],
    hint="Does serve.sh start the real server, with the base path of models.config? Nothing may stand in between.",
)
def server_gives_the_models_own_answer(
    server: ModelServer, shelves: dict[str, Shelf], pixels: Array, evidence: EvidenceBox
) -> None:
    """A model with random weights, put in the place of yours, answers with its own numbers in both formats."""
    version = max(shelves[MODEL].models)
    server.wait_available(MODEL, version)
    expected = shelves[MODEL].models[version](pixels)
    for key, result in (("instances", "predictions"), ("inputs", "outputs")):
        answer = server.ask(MODEL, {key: pixels.tolist()}, version=version)
        evidence.http(f"A request with “{key}”", answer.request, str(answer))
        if difference := far(predictions(answer, result, rows=len(pixels)), expected):
            fail(f"With “{key}”, {difference}.", f"The model's own numbers, to within {TOLERANCE:g}.")


def log_loss(probabilities: Array, labels: NDArray[np.int64]) -> float:
    """The mean surprise at the right answers, in nats."""
    right = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.mean(np.log(np.clip(right, 1e-12, 1.0))))


@check(
    "raw-pixels",
    skill=1,
    points=3,
    needs=[signature_takes_raw_pixels],
    hint="Put the scaling into the model, for example a Rescaling(1/16) layer: clients send what the camera gives.",
)
def model_scales_by_itself(course: CourseServer, served_export: int, digits: Digits, evidence: EvidenceBox) -> None:
    """The model does its own scaling: it reads raw pixels (0–16) better than pixels divided by 16."""
    losses = {}
    for name, divisor in (("raw pixels", 1), ("pixels divided by 16", 16)):
        body = {"instances": (digits.test_images / divisor).tolist()}
        answer = course.server.ask(OURS, body, version=served_export)
        losses[name] = log_loss(predictions(answer, "predictions", rows=len(digits.test_labels)), digits.test_labels)
    evidence.text("Log loss on held-out digits", "\n".join(f"{name}: {loss:.4f}" for name, loss in losses.items()))
    if not losses["raw pixels"] < losses["pixels divided by 16"]:
        fail(
            "Its log loss is {:.3f} on raw pixels, and {:.3f} on the same divided by 16.".format(*losses.values()),
            "It is at its best with raw pixels.",
        )


@check(
    "reads-digits",
    skill=2,
    points=5,
    needs=[serve_sh_serves, signature_takes_raw_pixels],
    last=True,
    hint="Train on the file given by --data, and on all of it: in this run its digits are numbered in another way.",
)
def server_reads_held_out_digits(
    student: StudentServer, shelves: dict[str, Shelf], export: Path, digits: Digits, evidence: EvidenceBox
) -> None:
    """Your model, trained on the data of this run and served by `serve.sh`, reads held-out digits as promised."""
    shelf = shelves[MODEL]
    version = shelf.take_number()
    shutil.copytree(export, shelf.staging(version))
    shelf.reveal(version)
    server = student.idle()
    server.wait_available(MODEL, version, seconds=60)
    answers = []
    for images in np.array_split(digits.test_images, 20):  # no larger than any server's smallest batch
        answer = server.ask(MODEL, {"instances": images.tolist()}, version=version)
        answers.append(predictions(answer, "predictions", rows=len(images)))
    found = np.concatenate(answers)
    accuracy = float(np.mean(found.argmax(axis=1) == digits.test_labels))
    evidence.text("Accuracy", f"{accuracy:.1%} of {len(digits.test_labels)} digits that it has not seen")
    if accuracy < PROMISED_ACCURACY:
        fail(
            f"It reads {accuracy:.1%} of {len(digits.test_labels)} held-out digits.",
            f"At least {PROMISED_ACCURACY:.0%}.",
        )


@check(
    "grpc",
    skill=6,
    points=4,
    needs=[serve_sh_serves],
    hint="`--port=8500` opens gRPC; without it the default is 8500 too, but 0 switches it off.",
)
def grpc_gives_what_rest_gives(
    server: ModelServer, shelves: dict[str, Shelf], pixels: Array, evidence: EvidenceBox
) -> None:
    """gRPC on port 8500 gives the same numbers as REST."""
    version = max(shelves[MODEL].models)
    server.wait_available(MODEL, version)
    try:
        outputs = server.grpc_predict(MODEL, pixels, "pixels")
    except GrpcError as error:
        fail(f"PredictionService.Predict on port {server.grpc_port} gave {error}.", "The model's answer.")
    except (ValueError, KeyError) as error:
        fail(f"The gRPC answer is no PredictResponse with a tensor of floats ({error}).", "The model's answer.")
    rest = predictions(server.ask(MODEL, {"instances": pixels.tolist()}), "predictions", rows=len(pixels))
    evidence.text("gRPC and REST, the first row", f"{outputs}\n{rest[0]}")
    if list(outputs) != ["probabilities"]:
        fail(f"The gRPC answer has the outputs {list(outputs)}.", "The one output of the model.")
    if difference := far(outputs["probabilities"], rest):
        fail(f"Over gRPC, {difference} (over REST).", f"The same numbers, to within {TOLERANCE:g}.")


def version_of_answer(models: dict[int, Model], row: Array) -> Callable[[int, bytes], tuple[str, bool]]:
    """Tells from an answer to ``row`` which of the versions gave it. Any other answer is a failure."""
    known = {version: model(row)[0] for version, model in models.items()}

    def recognise(status: int, body: bytes) -> tuple[str, bool]:
        if status != 200:
            return f"{status} {body[:120].decode('utf-8', 'replace')}", True
        try:
            found = np.array(json.loads(body)["predictions"][0], dtype=np.float32)
        except (ValueError, KeyError, IndexError, TypeError):
            return f"no prediction: {body[:100].decode('utf-8', 'replace')}", True
        for version, expected in known.items():
            if found.shape == expected.shape and np.all(np.abs(found - expected) <= 1e-4):
                return str(version), False
        return "the answer of no version", True

    return recognise


@check(
    "batching",
    skill=11,
    points=6,
    needs=[serve_sh_serves],
    hint="--enable_batching with --batching_parameters_file. A batch_timeout_micros of 0 waits for nobody.",
)
def requests_share_batches(
    server: ModelServer, shelves: dict[str, Shelf], pixels: Array, evidence: EvidenceBox
) -> None:
    """Under concurrent load, requests share batches: the mean batch is larger than 1 in the server's own metrics."""
    name = ":tensorflow:serving:batching_session:processed_batch_size"

    def totals() -> tuple[float, float]:
        samples = server.metrics()
        if not samples:
            fail(
                f"GET {server.url}{METRICS_PATH} gives no metrics.",
                "Prometheus text, as monitoring.config asks for.",
                "Pass --monitoring_config_file=monitoring.config, and set prometheus_config { enable: true } there.",
            )
        return samples.get(name + "_sum{}", 0.0), samples.get(name + "_count{}", 0.0)

    version = max(shelves[MODEL].models)
    server.wait_available(MODEL, version)
    row = pixels[:1]
    body = json.dumps({"instances": row.tolist()}).encode()
    recognise = version_of_answer({version: shelves[MODEL].models[version]}, row)
    before = totals()
    with Load(server.path(MODEL, version=version, then=":predict"), body, recognise, connections=CLIENTS) as load:
        load.wait_for(str(version), times=600, expected=f"Answers while {CLIENTS} clients ask at the same time.")
    evidence.load(f"{CLIENTS} clients at the same time", load.points)
    after = totals()
    rows, batches = after[0] - before[0], after[1] - before[1]
    evidence.text("From the server's metrics", f"{len(load.points)} requests, {rows:.0f} rows in {batches:.0f} batches")
    if load.failures:
        fail(
            f"{len(load.failures)} of {len(load.points)} requests failed; the first: {load.failures[0].answer}.",
            "None.",
        )
    if batches == 0:
        fail(f"{len(load.points)} requests were answered, and the metrics count no batch.", "Batching is on.")
    if rows / batches <= 1.2:
        fail(
            f"{rows:.0f} rows went through in {batches:.0f} batches: {rows / batches:.2f} a batch.",
            "More than one.",
        )
