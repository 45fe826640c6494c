"""Hidden checks of lab 01 about the client: what it reads from the server, and what it makes of trouble."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from autograder.checking import EvidenceBox, check, fail, stubs
from autograder.checking.programs import Programs, shown
from autograder.checking.shelf import Array, Shelf, generator
from autograder.checks.lab_01_serving.beginning import OURS, CourseServer
from autograder.checks.lab_01_serving.materials import MODEL
from autograder.checks.lab_01_serving.visible import client_predicts, expect_error, numbers, serve_sh_serves
from autograder.services.tfserving import ModelServer

T = TypeVar("T")


@check(
    "describe",
    skill=4,
    points=6,
    hint="GET /v1/models/MODEL/metadata; the sizes in it are strings, and -1 stands for any size.",
)
def client_describes_any_model(course: CourseServer, programs: Programs, evidence: EvidenceBox) -> None:
    """The client reads the metadata: it names the input and the shape of a model that it has never seen."""
    strange = course.strange
    inputs, outputs = strange.weights.shape
    expected = {
        "signature": "serving_default",
        "inputs": {strange.input_name: {"dtype": "DT_FLOAT", "shape": [-1, inputs]}},
        "outputs": {strange.output_name: {"dtype": "DT_FLOAT", "shape": [-1, outputs]}},
    }
    argv = ("client.py", "--url", course.server.url, "describe", course.stranger)
    finished, printed = programs.json(*argv)
    evidence.http("The client's command and what it printed", shown(argv), json.dumps(printed, indent=1)[:3000])
    if not finished.ok or {key: printed.get(key) for key in expected} != expected:
        fail(f"It {finished.ending()} and printed {json.dumps(printed)[:600]}.", json.dumps(expected))


def together(case: Callable[[T], None], cases: list[T]) -> None:
    """Tries several cases at the same time; raises what the first one of them raises, in their order."""
    with ThreadPoolExecutor(len(cases)) as executor:
        for attempt in [executor.submit(case, each) for each in cases]:
            attempt.result()


def one_row(pixels: Array) -> bytes:
    return json.dumps(pixels[:1].tolist()).encode()


@check(
    "error-400",
    skill=5,
    points=2,
    hint="A 400 has a JSON body with “error”: put its words into your own error.",
)
def client_names_a_bad_request(course: CourseServer, programs: Programs, evidence: EvidenceBox) -> None:
    """The client turns 400 into `InvalidRequest`."""
    rows = json.dumps([[1.0, 2.0, "three"]]).encode()
    version = str(min(course.shelf.models))
    argv = ("predict", OURS, "--version", version)
    expect_error(programs, evidence, "InvalidRequest", course.server.url, *argv, stdin=rows)


@check(
    "error-refused",
    skill=5,
    points=2,
    hint="Nobody listens on that port: catch your library's connection error.",
)
def client_names_a_refused_connection(programs: Programs, pixels: Array, evidence: EvidenceBox) -> None:
    """The client turns a refused connection into `ServerUnreachable`."""
    with stubs.refusing() as url:
        expect_error(programs, evidence, "ServerUnreachable", url, "predict", "model", stdin=one_row(pixels))


@check(
    "error-stalled",
    skill=5,
    points=2,
    hint="A library's timeout often starts anew with every byte. The --timeout is for the whole answer.",
)
def client_gives_up_in_time(programs: Programs, pixels: Array, evidence: EvidenceBox) -> None:
    """The client turns an answer that does not end within `--timeout` into `DeadlineExceeded`."""
    header = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{"

    def case(stall: tuple[bytes, bytes]) -> None:
        with stubs.stalling(*stall) as url:
            argv = ("predict", "digits")
            expect_error(programs, evidence, "DeadlineExceeded", url, *argv, stdin=one_row(pixels), timeout=1)

    together(case, [(b"", b""), (header, b""), (header, b" ")])


@check(
    "error-malformed",
    skill=5,
    points=2,
    hint="A 200 is no promise: parse the body, look for the key that you need, and raise MalformedAnswer otherwise.",
)
def client_distrusts_a_200(programs: Programs, pixels: Array, evidence: EvidenceBox) -> None:
    """The client turns a 200 that is not the promised JSON into `MalformedAnswer`."""

    def case(body: bytes) -> None:
        with stubs.answering(200, body) as stub:
            argv = ("predict", "digits")
            expect_error(programs, evidence, "MalformedAnswer", stub.url, *argv, stdin=one_row(pixels))

    together(case, [b'{"predictions": [[0.1, ', b"<html>It works!</html>", b'{"outputs": [[0.5]]}', b"[]"])


@check(
    "big-batch",
    skill=6,
    points=4,
    needs=[serve_sh_serves, client_predicts],
    hint="One call is one request. With batching on, max_batch_size bounds the rows of a single request too.",
)
def thousand_rows_are_one_request(
    server: ModelServer, shelves: dict[str, Shelf], programs: Programs, seed: int, evidence: EvidenceBox
) -> None:
    """A batch of 1,000 images goes through the client and the server in one request."""
    version = max(shelves[MODEL].models)
    server.wait_available(MODEL, version)
    rows = generator(seed, "big batch").integers(0, 17, size=(1000, 64)).astype(np.float32)
    with stubs.proxy(server.port) as seen:
        argv = (
            "client.py",
            "--url",
            seen.url,
            "--timeout",
            "30",
            "predict",
            MODEL,
            "--version",
            str(version),
        )
        finished, printed = programs.json(*argv, stdin=json.dumps(rows.tolist()).encode())
        posts = [request for request in seen.requests if request.method == "POST"]
    evidence.http("The client's command and what it printed", shown(argv), json.dumps(printed)[:600])
    if not finished.ok:
        fail(
            f"`{shown(argv)}` {finished.ending()} and printed {json.dumps(printed)[:400]}.",
            "1,000 predictions.",
        )
    said = f"It printed {json.dumps(printed)[:200]}."
    found = numbers(printed.get("predictions"), rows=1000, said=said, key="predictions")
    worst = float(np.max(np.abs(found - shelves[MODEL].models[version](rows)))) if found.shape == (1000, 10) else None
    if worst is None or worst > 1e-4:
        fail(
            f"The 1,000 predictions are not the model's own (largest difference: {worst}).",
            "The server's numbers.",
        )
    if len(posts) != 1:
        fail(f"The client sent {len(posts)} requests for 1,000 rows.", "One.")
