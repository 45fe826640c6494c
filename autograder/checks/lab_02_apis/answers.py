"""Hidden checks of lab 02 about what goes in and what comes out: answers, refusals, the document, readiness."""

from __future__ import annotations

import json

import numpy as np

from autograder.checking import CheckFailed, EvidenceBox, check, fail, polling
from autograder.checking.anything import GiveUp, for_any_images
from autograder.checking.contract import Known, explore
from autograder.checking.programs import Programs, shown
from autograder.checking.shelf import Array
from autograder.checks.lab_02_apis.beginning import Upstream, Wired
from autograder.checks.lab_02_apis.fixtures import TOLERANCE
from autograder.checks.lab_02_apis.visible import (
    alive_and_ready,
    bad_shapes_are_refused,
    predict_gives_the_models_answer,
    require_own_answer,
    require_refusal,
    short,
    show,
    the_document_tells_all,
)
from autograder.services.api import Api


@check(
    "not-ready",
    skill=1,
    points=4,
    needs=[alive_and_ready],
    hint="Liveness asks nobody: restarting the API mends no model server. Readiness asks the model server, every time. "
    "See it with `make up-02`, `make down`, and `curl -i localhost:8000/health/ready` after each.",
)
def without_a_model_server_it_is_alive_and_not_ready(hurried: Wired, evidence: EvidenceBox) -> None:
    """With the model server down, ready is 503 and live is 200; when it is back, so is readiness."""
    api = hurried.api

    def becomes(status: int, why: str) -> None:
        def look() -> bool | None:
            return True if api.ask("/health/ready").status == status else None

        def saw() -> str:
            return f"{why}, GET /health/ready stayed: {short(api.ask('/health/ready'))}"

        polling(look, seconds=30, saw=saw, expected=f"{status}.")

    becomes(200, "With the model server up")
    with hurried.cut_off():
        becomes(503, "With the model server down")
        answer = api.ask("/health/live")
        show(evidence, "GET /health/live with the model server down", answer)
        if answer.status != 200:
            fail(f"With the model server down, GET /health/live gave: {short(answer)}", "200: the app itself works.")
    becomes(200, "With the model server back")


@check(
    "own-answer",
    skill=2,
    points=3,
    needs=[predict_gives_the_models_answer],
    hint="Pass the pixels on as they are: no rounding, no scaling, no cache that mixes images up.",
)
def any_image_gets_the_models_answer(app: Api, upstream: Upstream, seed: int, evidence: EvidenceBox) -> None:
    """Whatever the images, whole or broken numbers, blank or black, the answer is the model's own."""

    def attempt(images: list[list[float]]) -> None:
        evidence.items.clear()  # of what was tried, the last and simplest is shown
        try:
            answer = app.predict(images)
            show(evidence, "Images, and the answer to them", answer)
            if answer.problem:
                fail(f"POST /predict gave {answer}.", "The model's own answer.")
        except CheckFailed as why:
            raise GiveUp(why) from None
        # Asked for anew each time: another check may have published a version meanwhile.
        require_own_answer(answer, np.array(images, dtype=np.float32), list(upstream.shelf.models.values()))

    for_any_images(attempt, seed)


@check(
    "client",
    skill=2,
    points=2,
    needs=[predict_gives_the_models_answer],
    hint="Send the key from API_KEY as X-API-Key, and print the API's answer as it is.",
)
def the_client_prints_the_answer(
    app: Api, upstream: Upstream, programs: Programs, pixels: Array, evidence: EvidenceBox
) -> None:
    """`client.py` sends images with the key from its environment, and prints the API's answer."""
    argv = ("client.py", "--url", app.url, "predict")
    finished, printed = programs.json(*argv, stdin=json.dumps(pixels.tolist()).encode(), env={"API_KEY": app.key})
    evidence.http("The client's command and what it printed", shown(argv), json.dumps(printed)[:3000])
    predictions = printed.get("predictions")
    try:
        found = np.array([one["probabilities"] for one in predictions], dtype=np.float32)  # type: ignore[union-attr]
    except (TypeError, KeyError, ValueError, OverflowError):
        found = np.empty(0, dtype=np.float32)
    models = list(upstream.shelf.models.values())
    if not finished.ok or not any(
        found.shape == model(pixels).shape and np.abs(found - model(pixels)).max() <= TOLERANCE for model in models
    ):
        saw = f"`{shown(argv)}` {finished.ending()} and printed {json.dumps(printed)[:400]}."
        fail(saw, "The API's own answer, all of it.")


INFINITE = "`allow_inf_nan=False`; and leave `input` out of your 422: a NaN is no JSON, so that becomes a 500."
RANGE = "`Field(ge=0, le=16)`: what lies outside is no pixel."
STRICT = "`Field(strict=True)`: otherwise pydantic makes numbers of “3” and true."
# As they stand in the body: most of them are no JSON that a serializer would write. And what mends it.
NUMBERS = {
    "a NaN": ("NaN", INFINITE),
    "an Infinity": ("Infinity", INFINITE),
    "a -Infinity": ("-Infinity", INFINITE),
    "a number that is larger than any float": ("1e999", INFINITE),
    "a number of 400 digits": ("9" * 400, RANGE),
    "a pixel of -1": ("-1", RANGE),
    "a pixel of 16.5": ("16.5", RANGE),
    "a pixel in quotes": ('"3"', STRICT),
    "a pixel that is true": ("true", STRICT),
    "a pixel that is null": ("null", STRICT),
}


@check(
    "bad-numbers",
    skill=3,
    points=4,
    needs=[bad_shapes_are_refused],
    hint="Let the type say it: `Annotated[float, Field(strict=True, ge=0, le=16, allow_inf_nan=False)]`.",
)
def bad_numbers_are_refused(app: Api, evidence: EvidenceBox) -> None:
    """A pixel that is no number from 0 to 16 is refused with 422, and the answer names `images`."""
    for what, (number, hint) in NUMBERS.items():
        body = '{"images": [[' + ", ".join(["0"] * 40 + [number] + ["0"] * 23) + "]]}"
        answer = app.ask("/predict", body.encode(), headers={"X-API-Key": app.key})
        show(evidence, f"An image with {what}", answer)
        require_refusal(answer, "images", f"An image with {what}", hint=hint)


BODIES: dict[str, tuple[bytes, str]] = {
    "A body without images": (b"{}", "images"),
    "An empty batch": (b'{"images": []}', "images"),
    "A null for images": (b'{"images": null}', "images"),
    "A string for images": (b'{"images": "0000"}', "images"),
    "An object for images": (b'{"images": {"0": [0]}}', "images"),
    "A body with a field too many": (b'{"images": [[' + b"0, " * 63 + b'0]], "imgaes": 1}', "imgaes"),
    "A list for a body": (b"[]", "body"),
    "A null for a body": (b"null", "body"),
}
BROKEN = {
    "A body that breaks off": b'{"images": [[0, 0',
    "A body that is not UTF-8": b'{"images": "\xff\xfe"}',
    "A body of brackets only": b"[" * 5000,
    "No body": b"",
}


@check(
    "bad-body",
    skill=3,
    points=3,
    needs=[bad_shapes_are_refused],
    hint='`ConfigDict(extra="forbid")` in the model of the request, and `min_length=1` for its images.',
)
def bad_bodies_are_refused(app: Api, evidence: EvidenceBox) -> None:
    """Missing and extra fields, wrong types and an empty batch are 422; what is no JSON at all is 400 or 422."""
    key = {"X-API-Key": app.key}
    for what, (body, field) in BODIES.items():
        answer = app.ask("/predict", body, headers=key)
        show(evidence, what, answer)
        require_refusal(answer, field, what)
    for what, body in BROKEN.items():
        answer = app.ask("/predict", body, headers=key)
        show(evidence, what, answer)
        require_refusal(answer, "", what, statuses=(422, 400))
    if app.ask("/health/live").status != 200:
        fail("After these requests the app is no longer alive.", "It refuses them, and goes on.")


@check(
    "contract",
    skill=4,
    points=5,
    needs=[the_document_tells_all],
    hint="Repeat the request with curl. Its answer, with that status and those fields, has to stand in the document.",
)
def every_answer_keeps_the_document(app: Api, largest: int, seed: int, evidence: EvidenceBox) -> None:
    """Requests made from your OpenAPI document find no 5xx, and no answer that contradicts it."""
    key = {"X-API-Key": app.key}
    fine = json.dumps({"images": [[0] * 64]}).encode()
    known = [
        Known("No key", "/predict", fine),
        Known("A wrong key", "/predict", fine, {"X-API-Key": "wrong"}),
        Known("A body that breaks off", "/predict", b'{"images": ', key),
        Known("A body that is not UTF-8", "/predict", b'{"images": "\xff"}', key),
        Known(
            "One image more than MAX_BATCH",
            "/predict",
            json.dumps({"images": [[0] * 64] * (largest + 1)}).encode(),
            key,
        ),
    ]
    found = explore(app.ask("/openapi.json").body, app.url, key, seed, known)
    evidence.text("What schemathesis tried", found.summary)
    if found.problem:
        curl = found.curl.replace("[Filtered]", "$API_KEY").replace(app.key, "$API_KEY")
        curl = curl.replace(app.url, "http://localhost:8000").replace("'X-API-Key: $API_KEY'", '"X-API-Key: $API_KEY"')
        evidence.http("Repeat it with curl", curl, found.answer)
        told = f"\nThe answer: {found.answer[:400]}" if found.answer else ""
        again = f"\nRepeat it: {curl[:1500]}" if curl else ""
        fail(
            f"{found.problem}{told}{again}",
            "An answer that the document describes, and never a 5xx.",
            "Refuse with 422 what can't be answered, before it reaches the model server." if found.crashed else "",
        )
