"""The checks of lab 02 that students get with the lab."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

from autograder.checking import EvidenceBox, check, fail
from autograder.checking.digits import MODEL
from autograder.checking.shelf import Array, Model
from autograder.checks.lab_02_apis.beginning import Upstream, Wired
from autograder.checks.lab_02_apis.fixtures import TOLERANCE
from autograder.services.api import Api, listens
from autograder.services.http import Answer


def show(evidence: EvidenceBox, title: str, answer: Answer) -> None:
    evidence.http(title, answer.request, f"{answer}\n{json.dumps(dict(answer.headers), indent=1)}")


def short(answer: Answer) -> str:
    """An answer in one line of a sentence."""
    return str(answer)[:500]


def read(answer: Answer, rows: int, what: str = "POST /predict") -> tuple[Array, list[Any], Any]:
    """The probabilities, digits and version of a 200. Fails the check when it is none, or has another form.

    Args:
        answer: what came.
        rows: how many images were sent.
        what: what gave it, to begin a sentence with.
    """
    found = answer.json
    predictions = found.get("predictions") if isinstance(found, dict) else None
    form = '{"predictions": [{"digit": …, "probabilities": […]}, …], "model_version": …, "request_id": …}'
    if answer.status != 200 or not isinstance(predictions, list):
        fail(f"{what} gave: {short(answer)}", f"200, and {form}")
    if len(predictions) != rows:
        fail(f"{rows} images gave {len(predictions)} predictions.", "One prediction for each image.")
    try:
        probabilities = np.array([one["probabilities"] for one in predictions], dtype=np.float32)
        digits = [one["digit"] for one in predictions]
        version = found["model_version"]
    except (KeyError, TypeError, ValueError, OverflowError):
        probabilities, digits, version = np.empty(0, dtype=np.float32), [], None
    if probabilities.shape != (rows, 10):
        saw, expected = f"{what} gave: {short(answer)}", f"For each image ten probabilities: {form}"
        fail(saw, expected, "Compare the names, letter by letter.")
    return probabilities, digits, version


def looks(image: Array) -> str:
    """An image in a few words, in brackets; empty when it takes more."""
    values, counts = np.unique(image, return_counts=True)
    most = values[np.argmax(counts)]
    others = [f"pixel {where} is {image[where]:.9g}" for where in np.flatnonzero(image != most)]
    if len(others) > 2:
        return ""
    return f" (all its pixels are {most:.9g}{', but ' + ' and '.join(others) if others else ''})"


def require_own_answer(answer: Answer, rows: Array, models: list[Model], what: str = "POST /predict") -> None:
    """Fails the check when an answer is not that of one of the models; ``what`` gave it, to begin a sentence with."""
    probabilities, digits, _ = read(answer, len(rows), what)
    expected = min((model(rows) for model in models), key=lambda own: float(np.abs(probabilities - own).max()))
    for row, wrong in enumerate(~(np.abs(probabilities - expected) <= TOLERANCE)):
        if not wrong.any():
            continue
        if owners := np.flatnonzero((np.abs(expected - probabilities[row]) <= TOLERANCE).all(axis=1)).tolist():
            fail(
                f"Of {len(rows)} images, image {row} got the answer to image {owners[0]}.",
                "The predictions in the order of the images.",
                "Send the images in the order in which they came: the model server keeps it.",
            )
        column = int(np.argmax(wrong))
        fail(
            f"In image {row}{looks(rows[row])}, digit {column} has the probability "
            f"{probabilities[row, column]:.7g}; the model itself gives {expected[row, column]:.7g}.",
            f"The model server's own numbers, to within {TOLERANCE:g}.",
            "Send the pixels as they came, and pass the model's numbers on: no rounding, no scaling, no cache.",
        )
    for row, digit in enumerate(digits):
        likeliest = int(np.argmax(probabilities[row]))
        if isinstance(digit, bool) or digit != likeliest:
            fail(
                f"Image {row} is said to be {digit!r}; the likeliest digit is {likeliest}.",
                "The digit with the largest of the ten probabilities.",
                "The digit is the place of the largest probability, counted from 0.",
            )


READINESS = (
    "Readiness is `ready()` in `app/upstream.py`. Try it without the grader: `make up-02` starts a model server, "
    "`API_KEY=k python -m app` your app; then `curl -i localhost:8000/health/ready`."
)


@check(
    "live-and-ready",
    skill=1,
    points=4,
    visible=True,
    hint="Try it without the grader: `API_KEY=k python -m app`, and `curl -i localhost:8000/health/live`.",
)
def alive_and_ready(app: Api, upstream: Upstream, evidence: EvidenceBox) -> None:
    """The image's command starts the app; with the model server up it is alive and ready."""
    answer = app.ask("/health/live")
    show(evidence, "GET /health/live", answer)
    if answer.status != 200:
        fail(f"GET /health/live gave: {short(answer)}", "200: the app works.")
    answer = app.ask("/health/ready")
    show(evidence, "GET /health/ready", answer)
    if answer.status != 200:
        found = upstream.server.states(MODEL)
        states = ", ".join(f"version {number} is {state}" for number, (state, _) in found.items())
        saw = f"GET /health/ready gave: {short(answer)}\nThe model server behind it says: {states or 'nothing'}."
        if answer.status == 500:
            app.ask("/health/live")  # what it says of a failure stands in its log before it answers again
            saw += f"\nThe app's log ends:\n{app.last_words()}"
        fail(saw, "200: the app works, and so does the model server behind it.", READINESS)
    if sys.platform == "linux" and not listens(app.port, "127.0.0.2"):
        fail(
            f"The app listens on 127.0.0.1 only; nobody answers at 127.0.0.2:{app.port}, which is this machine too.",
            "It listens on all interfaces: on 127.0.0.1 nobody outside of its container reaches it.",
            'Tell uvicorn the host 0.0.0.0: `host="0.0.0.0"`, or `--host 0.0.0.0`.',
        )


@check(
    "predict",
    skill=2,
    points=4,
    needs=[alive_and_ready],
    visible=True,
    hint='POST {MODEL_SERVER_URL}/v1/models/{MODEL_NAME}:predict with {"instances": [...]}, and pass its numbers on.',
)
def predict_gives_the_models_answer(app: Api, upstream: Upstream, pixels: Array, evidence: EvidenceBox) -> None:
    """`POST /predict` gives the model's own probabilities, and the likeliest digit."""
    answer = app.predict(pixels.tolist())
    show(evidence, "Eight images", answer)
    require_own_answer(answer, pixels, list(upstream.shelf.models.values()))


def require_refusal(
    answer: Answer, field: str, what: str, *, hint: str = "", statuses: tuple[int, ...] = (422,)
) -> None:
    """Fails the check unless an answer is a 422 whose ``detail`` names the field in a ``loc``.

    Args:
        answer: what came.
        field: the field's name; empty when there is none to name.
        what: what was sent, to begin a sentence with.
        hint: what to try when it was not refused; the check's own by default.
        statuses: what it may be.
    """
    expected = " or ".join(map(str, statuses))
    if field:
        expected += f", with a “loc” that names “{field}” in its “detail”"
    if answer.status not in statuses:
        fail(f"{what} gave: {short(answer)}", f"{expected}.", hint)
    detail = answer.json.get("detail") if isinstance(answer.json, dict) else None
    locs = [one.get("loc") for one in detail if isinstance(one, dict)] if isinstance(detail, list) else []
    if field and not any(isinstance(loc, list) and field in loc for loc in locs):
        fail(
            f"{what} gave: {short(answer)}",
            f"{expected}.",
            "FastAPI's own 422 names the field. A handler of yours has to pass on each `loc` of `error.errors()`.",
        )


@check(
    "bad-shape",
    skill=3,
    points=3,
    needs=[predict_gives_the_models_answer],
    visible=True,
    hint="Let the types say it: a list of lists with min_length and max_length 64.",
)
def bad_shapes_are_refused(app: Api, evidence: EvidenceBox) -> None:
    """An image that has not 64 pixels is refused with 422, and the answer names `images`."""
    fine: list[Any] = [1.0] * 64
    cases: dict[str, Any] = {
        "An image of 63 pixels": [fine, fine[:63]],
        "An image of 65 pixels": [[*fine, 1.0]],
        "An image without pixels": [[]],
        "An image of 8 rows of 8 pixels": [[[1.0] * 8] * 8],
        "A flat list of 64 pixels": fine,
    }
    for what, images in cases.items():
        answer = app.predict(images)
        show(evidence, what, answer)
        require_refusal(answer, "images", what)


ERRORS = ("401", "403", "413", "422", "502", "503", "504")


@check(
    "documented",
    skill=4,
    points=4,
    needs=[predict_gives_the_models_answer],
    visible=True,
    hint='Look at /docs, and say it in the decorator: `responses={503: {"model": Problem}, …}`.',
)
def the_document_tells_all(app: Api, evidence: EvidenceBox) -> None:
    """The OpenAPI document has an example request, a model of the answer, and a model of every error."""
    answer = app.ask("/openapi.json")
    document = answer.json
    if answer.status != 200 or not isinstance(document, dict):
        fail(f"GET /openapi.json gave: {short(answer)}", "200, and the document.")
    evidence.text("GET /openapi.json", json.dumps(document, indent=1)[:8000])
    operation = at(document, "paths", "/predict", "post")
    if not operation:
        fail("The document has no POST /predict.", "It describes every route.")
    body = at(document, *("paths", "/predict", "post", "requestBody", "content", "application/json"))
    if not has_example(document, body):
        fail(
            "POST /predict has no example of a request.",
            "One in its schema, or in a field of that.",
            '`model_config = ConfigDict(json_schema_extra={"examples": [...]})` in the model of the request.',
        )
    if "predictions" not in at(document, *_schema("200"), "properties"):
        fail(
            "The 200 of POST /predict has no model with “predictions”.",
            "A model of the answer.",
            "Say what the route returns: `-> PredictResponse`, or `response_model=PredictResponse` in its decorator.",
        )
    for status in ERRORS:
        if not at(document, *_schema(status)):
            fail(f"POST /predict has no model for {status}.", f"One for each of {', '.join(ERRORS)}.")


def _schema(status: str) -> tuple[str, ...]:
    return ("paths", "/predict", "post", "responses", status, "content", "application/json", "schema")


def resolved(document: dict[str, Any], found: Any) -> Any:
    """What a reference leads to; anything else as it is."""
    for _ in range(8):  # a reference may lead to another; one that leads to itself ends here
        target = found.get("$ref") if isinstance(found, dict) else None
        if not isinstance(target, str) or not target.startswith("#/"):
            break
        found = document
        for part in target[2:].split("/"):
            found = found.get(part) if isinstance(found, dict) else None
    return found


def at(document: dict[str, Any], *way: str) -> dict[str, Any]:
    """What stands at a place of an OpenAPI document, over references; an empty dict where there is nothing."""
    found: Any = document
    for step in way:
        found = resolved(document, found.get(step)) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def has_example(document: dict[str, Any], body: dict[str, Any]) -> bool:
    """Whether a media type, its schema, or a field of that has an example."""
    schema = resolved(document, body.get("schema"))
    schema = schema if isinstance(schema, dict) else {}
    fields = schema.get("properties")
    places = [body, schema, *(fields.values() if isinstance(fields, dict) else [])]
    return any(isinstance(place, dict) and (place.get("example") or place.get("examples")) for place in places)


@check(
    "down",
    skill=7,
    points=3,
    needs=[predict_gives_the_models_answer],
    visible=True,
    hint="Catch your client's connection error, and answer 503 with the header Retry-After: some seconds.",
)
def no_model_server_is_a_503(wired: Wired, pixels: Array, evidence: EvidenceBox) -> None:
    """With the model server down, `POST /predict` is 503 with `Retry-After`."""
    with wired.cut_off():
        answer = wired.api.predict(pixels.tolist())
        show(evidence, "The model server refuses connections", answer)
        require_503(answer, "With the model server down, POST /predict")


def require_503(answer: Answer, what: str) -> None:
    """Fails the check unless an answer is a 503 that says when to come back."""
    told = answer.headers.get("retry-after", "")
    expected = "503, and the header Retry-After with whole seconds."
    if answer.status == 504 or answer.late:
        fail(
            f"{what} gave: {short(answer)}",
            expected,
            "Nobody was slow here. Do you try again until MODEL_TIMEOUT is over? Three attempts are enough.",
        )
    if answer.status != 503:
        fail(f"{what} gave: {short(answer)}", expected)
    if not told.isdecimal():
        shown = f"Retry-After: {told}" if told else "no Retry-After"
        fail(f"{what} gave, with {shown}: {short(answer)}", expected)


@check(
    "too-large",
    skill=9,
    points=3,
    needs=[predict_gives_the_models_answer],
    visible=True,
    hint="More images than settings.max_batch are too many, just as many are not. It comes from MAX_BATCH.",
)
def too_large_a_batch_is_413(app: Api, largest: int, evidence: EvidenceBox) -> None:
    """`MAX_BATCH` images go into one request; one more is 413."""
    for count, status in ((largest, 200), (largest + 1, 413)):
        answer = app.predict([[1.0] * 64] * count)
        evidence.http(f"{count} images, with MAX_BATCH={largest}", answer.request[:300], short(answer))
        if answer.status != status:
            fail(f"With MAX_BATCH={largest}, {count} images gave: {short(answer)[:120]}", f"{status}.")


@check(
    "key",
    skill=10,
    points=4,
    needs=[predict_gives_the_models_answer],
    visible=True,
    hint="Compare the whole key, as bytes: `hmac.compare_digest(given.encode(), key.encode())`. é is not ASCII.",
)
def only_the_key_opens(app: Api, pixels: Array, evidence: EvidenceBox) -> None:
    """Without `X-API-Key` it is 401, with a wrong one 403; the health endpoints ask for none."""
    body = {"images": pixels[:1].tolist()}
    answer = app.ask("/predict", body)
    show(evidence, "No key", answer)
    if answer.status != 401:
        fail(
            f"POST /predict without X-API-Key gave: {short(answer)}",
            "401: who has no key is told to send one; who has a wrong one gets 403.",
            '`APIKeyHeader(name="X-API-Key", auto_error=False)` in a dependency gives None when there is none.',
        )
    wrong = {
        "half of the key": app.key[: len(app.key) // 2],
        "the key and one letter more": app.key + "x",
        "the key in capitals": app.key.upper(),
        "a key with an é in it": "clé",
    }
    for what, key in wrong.items():
        answer = app.ask("/predict", body, headers={"X-API-Key": key})
        evidence.http(f"X-API-Key: {what}", answer.request, short(answer))
        if answer.status != 403:
            fail(f"POST /predict with {what} as X-API-Key gave: {short(answer)}", "403.")
