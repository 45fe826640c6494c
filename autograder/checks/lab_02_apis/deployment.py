"""Hidden checks of lab 02 about running the API: secrets, names in answers and logs, the image, the end."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np

from autograder.checking import EvidenceBox, check, fail, polling
from autograder.checking.load import Load
from autograder.checking.shelf import Array, generator
from autograder.checks.lab_02_apis.answers import (
    any_image_gets_the_models_answer,
    every_answer_keeps_the_document,
    the_client_prints_the_answer,
)
from autograder.checks.lab_02_apis.beginning import Keys, Upstream, Wired
from autograder.checks.lab_02_apis.fixtures import TOLERANCE
from autograder.checks.lab_02_apis.traffic import connections_are_shared, slow_requests_overlap
from autograder.checks.lab_02_apis.visible import (
    alive_and_ready,
    only_the_key_opens,
    predict_gives_the_models_answer,
    read,
    require_own_answer,
    short,
    show,
)
from autograder.pods import Limits, Pod, Program
from autograder.pods.building import Built
from autograder.services.api import Api
from autograder.services.savedmodel import random_dense
from autograder.submission import Intake

COMMENT = re.compile(r"#.*$", re.MULTILINE)
LARGEST_FILE = 20 << 20
IN_FLIGHT = 8
MEANWHILE = 1.5  # seconds


@check(
    "constant-time",
    skill=10,
    points=2,
    needs=[only_the_key_opens],
    hint="`hmac.compare_digest(given.encode(), key.encode())`; `==` ends at the first letter that differs.",
)
def the_key_is_compared_in_constant_time(pod: Pod, intake: Intake) -> None:
    """The key is compared with `hmac.compare_digest` or `secrets.compare_digest`."""
    names = [name for name in intake.files if name.startswith("app/") and name.endswith(".py")]
    source = "\n".join(COMMENT.sub("", pod.read(f"/submission/{name}").decode("utf-8", "replace")) for name in names)
    if not re.search(r"\bcompare_digest\s*\(", source):
        fail(f"Nothing in {len(names)} files below app/ calls compare_digest.", "The key is compared with it.")


@check(
    "secrets",
    skill=10,
    points=3,
    needs=[only_the_key_opens],
    last=True,
    hint="A key belongs in the environment of the running container. Print and repeat neither settings nor headers.",
)
def the_key_is_nowhere(
    app: Api, wired: Wired, hurried: Wired, busy: Wired, keys: Keys, built: Built, pod: Pod, evidence: EvidenceBox
) -> None:
    """The keys are found in no log, answer or file, and in no layer of the image."""
    for api in (app, wired.api, hurried.api, busy.api):
        api.predict([[0.0] * 63])  # one more that is refused, since errors tell most
        if told := next((line for line in api.running.log().splitlines() if keys.api in line), ""):
            shown = told.replace(keys.api, "<the key>")[:300]
            fail(f"The API key stands in the log of {api.name}, in this line: {shown}", "No line of the log holds it.")
        for answer in api.answers:
            if keys.api.encode() in answer.body or keys.api in str(answer.headers):
                show(evidence, "The answer that holds the key", answer)
                shown = short(answer).replace(keys.api, "<the key>")
                fail(f"The API key stands in an answer of the app: {shown}", "No answer holds it.")
    for path, content in files(pod):
        if keys.api.encode() in content:
            fail(f"The app wrote the API key into the file {path}.", "It is in the environment, and nowhere else.")
    evidence.text("How the image was looked at", "layer by layer" if built.real else "what the Dockerfile copies")
    if keys.planted.encode() in built.found:
        fail(
            "A .env with a key lay beside the Dockerfile when the image was built, and the key is in a layer of it.",
            "Nothing of .env is in the image.",
            "Name .env in `.dockerignore`. A `RUN rm` comes too late: the layer before it keeps the file.",
        )


def files(pod: Pod) -> Iterator[tuple[str, bytes]]:
    """Every file that the student's programs may have written, by its path in the pod."""
    for top in ("/tmp", "/submission"):
        start = pod.outside(top)
        device = start.stat().st_dev
        for folder, folders, names in os.walk(start):
            # What is mounted there is not the student's: a course that was cloned into /tmp shows its Python there.
            folders[:] = [name for name in folders if _device(Path(folder, name)) == device]
            inside = top + folder[len(str(start)) :]
            for name in names:
                try:
                    descriptor = pod.open(f"{inside}/{name}")
                except OSError:
                    continue
                with os.fdopen(descriptor, "rb") as stream:
                    if stat.S_ISREG(os.fstat(descriptor).st_mode):
                        yield f"{inside}/{name}", stream.read(LARGEST_FILE)


def _device(path: Path) -> int | None:
    """What a file system is called; ``None`` for what went away meanwhile: the student's programs still run."""
    try:
        return os.lstat(path).st_dev
    except OSError:
        return None


@check(
    "request-id",
    skill=11,
    points=2,
    needs=[predict_gives_the_models_answer],
    hint="Middleware sees every answer, also the ones that FastAPI makes by itself: both headers belong there.",
)
def every_answer_names_its_request(app: Api, pixels: Array, evidence: EvidenceBox) -> None:
    """Every answer, of whatever status, has `X-Model-Version` and `X-Request-ID`: the caller's own if well formed."""
    images = pixels[:1].tolist()

    def name_of(answer: Any, what: str) -> str:
        show(evidence, what, answer)
        if answer.problem:
            fail(f"{what} did not come: {answer.problem}.", "An answer, and in it both headers.")
        for header in ("X-Request-ID", "X-Model-Version"):
            if not answer.headers.get(header.lower()):
                fail(f"{what} ({answer.status}) has no header {header}.", "Every answer has one.")
        return str(answer.headers["x-request-id"])

    own = {"X-Request-ID": "check-17_a"}
    asked = {
        "The answer to a good request": app.predict(images, headers=own),
        "The answer to a bad request": app.predict([[1.0]], headers=own),
        "The answer without a key": app.ask("/predict", {"images": images}, headers=own),
        "The answer for an unknown path": app.ask("/nowhere", headers=own),
        "The answer of /health/live": app.ask("/health/live", headers=own),
    }
    for what, answer in asked.items():
        if (name := name_of(answer, what)) != own["X-Request-ID"]:
            fail(f"{what} has X-Request-ID: {name}.", f"The caller's own, {own['X-Request-ID']}.")
    good = asked["The answer to a good request"].json
    if not isinstance(good, dict) or good.get("request_id") != own["X-Request-ID"]:
        told = json.dumps(good.get("request_id") if isinstance(good, dict) else good)[:300]
        fail(
            f"The answer's header X-Request-ID is {own['X-Request-ID']}; “request_id” in its body is {told}.",
            "The same in both.",
            "The middleware keeps the id in `request.state`; the route takes it from there.",
        )
    new = {name_of(app.predict(images), "Without an id of the caller's") for _ in range(3)}
    if len(new) != 3:
        fail(f"Three requests without an id got {', '.join(sorted(new))}.", "A new one each.")
    for strange in ('a" b', "x" * 200, "tab\tid", "clé"):
        name = name_of(app.predict(images, headers={"X-Request-ID": strange}), f"An id of {len(strange)} characters")
        if name in (strange, strange.encode().decode("latin-1")):  # an é comes back as it went, or as UTF-8
            fail(
                f"The id {strange[:40]!r} was taken as it is.",
                "1 to 64 letters (A–Z, a–z), digits, - and _; else a new one.",
                "`re.fullmatch` tells whether an id is well formed.",
            )


@check(
    "log-lines",
    skill=11,
    points=2,
    needs=[every_answer_names_its_request],
    hint="One line of JSON for each request, written by the same middleware; and `access_log=False` for uvicorn's own.",
)
def every_request_is_one_line(app: Api, pixels: Array, evidence: EvidenceBox) -> None:
    """For each request the log has one line of JSON with its id, the model's version, method, path and status."""
    sent = {}
    # The fourth is not looked at: when its line is there, so are all lines of those before it.
    for number, images in enumerate([pixels[:1].tolist(), [[1.0]], pixels[:2].tolist(), [[2.0]]]):
        name = f"log-{number}-{app.port}"
        # In the query, too: whatever else writes a line about this request writes its name with it.
        headers = {"X-Request-ID": name, "X-API-Key": app.key}
        sent[name] = app.ask(f"/predict?for={name}", {"images": images}, headers=headers)
    last = name

    def lines_of(name: str) -> list[str]:
        whole = app.running.log().rpartition("\n")[0]
        return [line for line in whole.splitlines() if name in line]

    polling(
        lambda: lines_of(last) or None,
        seconds=20,
        saw=f"No line of the log holds the request id {last}, which a request to /predict had.",
        expected="One line of JSON on standard output for each request.",
    )
    for name, answer in sent.items():
        if name == last:
            break
        lines = lines_of(name)
        evidence.log(f"The log's lines with {name}", "\n".join(lines)[:2000])
        told = [found for line in lines if isinstance(found := parsed(line), dict) and found.get("request_id") == name]
        if len(lines) != 1 or len(told) != 1:
            shown = "".join(f"\n{line[:300]}" for line in lines[:3])
            what = f"has {len(lines)} lines" if len(lines) != 1 else "has a line that is no JSON with its “request_id”"
            fail(
                f"One request {what} in the log{':' if lines else '.'}{shown}",
                "Exactly one line for each request, and that is JSON.",
            )
        (line,) = told
        expected: dict[str, Any] = {"method": "POST", "path": "/predict", "status": answer.status}
        if any(line.get(key) != value for key, value in expected.items()) or "model_version" not in line:
            fail(f"The line is {json.dumps(line)[:400]}.", f"It has {json.dumps(expected)[1:-1]}, and “model_version”.")
        if answer.status == 200 and str(line["model_version"]) != str(answer.json["model_version"]):
            fail(
                f"The line has “model_version”: {json.dumps(line['model_version'])}.",
                f"{answer.json['model_version']}, as in the answer.",
            )


def parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


@check(
    "model-version",
    skill=11,
    points=3,
    needs=[predict_gives_the_models_answer],
    after=[any_image_gets_the_models_answer, the_client_prints_the_answer, every_answer_keeps_the_document],
    hint="Ask the version that you will name (/versions/N:predict); if it is gone, look again. Or use gRPC.",
)
def the_version_named_is_the_one_that_answered(
    app: Api, upstream: Upstream, wired: Wired, pixels: Array, seed: int, evidence: EvidenceBox
) -> None:
    """While versions change, each answer names the version that gave its numbers, and no request fails."""
    rows = pixels[:2]
    own = generator(seed, "next version")
    stub = wired.stub
    before, after = stub.version, stub.version + int(own.integers(1, 9))
    models: dict[int, Any] = {before: stub.model, after: random_dense(own)}
    stub.prepare(models[after], after)
    # The version changes in the worst moment: when the API has looked which one is there, and before it asks.
    with stub.behaving("move on"):
        answer = wired.api.predict(rows.tolist())
    show(evidence, f"The model server moved on from version {before} to {after} just before it answered", answer)
    require_named_version(answer, rows, models, f"A request while version {after} took the place of {before}")

    old = max(upstream.shelf.models)
    told = rows.tolist()

    def recognise(status: int, body: bytes) -> tuple[str, bool]:
        found = parsed(body.decode("utf-8", "replace"))
        if status != 200 or not isinstance(found, dict):
            return f"{status} {body[:200].decode('utf-8', 'replace')}", True
        version = found.get("model_version")
        model = upstream.shelf.models.get(version) if isinstance(version, int) else None
        try:
            numbers = np.array([one["probabilities"] for one in found["predictions"]], dtype=np.float32)
        except (KeyError, TypeError, ValueError):
            return "no predictions", True
        right = model is not None and numbers.shape == (2, 10) and np.abs(numbers - model(rows)).max() <= TOLERANCE
        return (str(version), False) if right else (f"{version}, with numbers of another version", True)

    load = Load(app.url + "/predict", json.dumps({"images": told}).encode(), recognise, headers={"X-API-Key": app.key})
    try:
        with load:
            load.wait_for(str(old), times=20, expected=f"Answers that name version {old}, with its numbers.")
            new = upstream.shelf.put()
            load.wait_for(str(new), times=20, expected=f"Answers that name version {new}, with its numbers.")
    finally:
        evidence.load(f"Requests while version {old} is replaced", load.points)
    if load.failures:
        fail(
            f"{len(load.failures)} of {len(load.points)} requests went wrong: {load.failures[0].answer}.",
            "Each answer has the numbers of the version that it names.",
        )
    answer = app.predict(told)
    header = answer.headers.get("x-model-version", "")
    if header != str(read(answer, 2)[2]):
        show(evidence, "An answer with its headers", answer)
        fail(
            f"An answer of version {new} has the header X-Model-Version: {header or 'none'}.",
            f"{new}, as in its body.",
            "The route tells the middleware which version answered: `request.state.model_version`.",
        )


def require_named_version(answer: Any, rows: Array, models: dict[int, Any], what: str) -> None:
    """Fails the check unless an answer names one of the versions, and has its numbers; ``what`` gave it."""
    probabilities, _, version = read(answer, len(rows), what)
    named = {number for number, model in models.items() if np.abs(probabilities - model(rows)).max() <= TOLERANCE}
    if named != {version}:
        gave = ", ".join(map(str, named)) or "neither of them"
        fail(f"{what} named version {version!r}; its numbers are those of {gave}.", "The version that answered.")


@check(
    "not-root",
    skill=12,
    points=2,
    needs=[alive_and_ready],
    hint="`USER nobody`, or a user of your own, before CMD.",
)
def the_image_is_nobody_special(built: Built, evidence: EvidenceBox) -> None:
    """The image runs as another user than root."""
    evidence.text("The image's user", built.user or "(none: root)")
    if built.user.partition(":")[0].strip() in ("", "root", "0"):
        fail(f"The image's user is {built.user or 'not set, so it is root'}.", "A USER that is not root.")


@check(
    "health-check",
    skill=12,
    points=2,
    needs=[alive_and_ready],
    hint='HEALTHCHECK CMD ["python", "-m", "app.health"], which asks at PORT: 0 if /health/live is 200, else 1.',
)
def the_health_check_tells_alive_from_dead(app: Api, built: Built, pod: Pod, evidence: EvidenceBox) -> None:
    """The image's health check ends with 0 while the app is alive, and with another code when it is not."""
    if not built.healthcheck:
        fail("The image has no health check.", "A HEALTHCHECK in the Dockerfile.")
    command = " ".join(built.healthcheck)
    for port, alive in ((app.port, True), (1, False)):  # nobody listens on port 1
        env = {**built.env, "PORT": str(port), "API_KEY": app.key}
        limits = Limits(seconds=20)
        finished = pod.run(Program(built.healthcheck, env=env, cwd=built.workdir, limits=limits, built=built))
        evidence.log(f"`{command}` with PORT={port}: {finished.ending()}", finished.tail())
        if finished.ok != alive:
            state = "the app was alive there" if alive else "nobody listened there"
            fail(
                f"With PORT={port}, while {state}, `{command}` {finished.ending()}.",
                "Exit code 0." if alive else "An exit code other than 0.",
            )


@check(
    "shutdown",
    skill=12,
    points=4,
    needs=[slow_requests_overlap],
    after=[connections_are_shared],
    hint="uvicorn finishes what it has begun, if SIGTERM reaches it (CMD in exec form) and nothing cuts it short.",
)
def sigterm_loses_nothing(busy: Wired, seed: int, evidence: EvidenceBox) -> None:
    """SIGTERM while requests are in flight: every one is answered, then the app ends."""
    api, stub = busy.api, busy.stub
    rows = generator(seed, "last").uniform(0, 16, size=(IN_FLIGHT, 64)).astype(np.float32)
    with stub.behaving("hold"), ThreadPoolExecutor(IN_FLIGHT) as executor:
        waiting = [executor.submit(api.predict, [row.tolist()]) for row in rows]
        stub.wait_in_flight(IN_FLIGHT)
        api.running.terminate()
        # Until the app has heard of it, which shows: it takes no more connections, or is gone.
        polling(
            lambda: True if not api.running.alive or api.ask("/health/live", seconds=5).problem else None,
            seconds=30,
            saw="30 seconds after SIGTERM the app still took new requests: it has not heard it, or takes no notice.",
            expected="It takes no more, finishes what it has begun, and ends.",
            hint="Write CMD in exec form: a shell need not pass SIGTERM on. And leave the signal to uvicorn.",
        )
        # They go on for a while, as requests do: who cuts them off has the time to.
        wait(waiting, timeout=MEANWHILE, return_when=FIRST_COMPLETED)
        stub.release()
        answers = [future.result() for future in waiting]
    evidence.log("The app's log", api.running.log())
    for row, answer in zip(rows, answers, strict=True):
        if answer.problem:
            show(evidence, "A request that was in flight at SIGTERM", answer)
            fail(f"A request that was in flight at SIGTERM got {short(answer)}", f"All {IN_FLIGHT} are answered.")
        require_own_answer(answer, row[np.newaxis], [stub.model], "A request that was in flight at SIGTERM")
    finished = api.running.wait(60)
    if finished is None:
        fail("A minute after its last request, the app still ran.", "After SIGTERM it ends by itself.")
