"""Hidden checks of lab 02 about the model server behind the API: connections, overlap, deadlines, retries, batches."""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from autograder.checking import EvidenceBox, check, fail
from autograder.checking.programs import Programs, shown
from autograder.checking.shelf import Array, generator
from autograder.checking.stubs import unwilling
from autograder.checks.lab_02_apis.beginning import BACKOFF, SHORT, Wired
from autograder.checks.lab_02_apis.visible import (
    no_model_server_is_a_503,
    predict_gives_the_models_answer,
    require_503,
    require_own_answer,
    short,
    show,
)
from autograder.services.http import Answer

MANY, AT_A_TIME, MOST_CONNECTIONS = 200, 4, 50
SLOW = 20
NARROW = "Something lets only so many through: your client's limit of connections, or its pool of threads."
ATTEMPTS = 3
WAITS = 24  # requests whose retries are looked at


def different(count: int, seed: int, purpose: str) -> Array:
    """Images that can be told from each other, shape (count, 64)."""
    return generator(seed, purpose).uniform(0, 16, size=(count, 64)).astype(np.float32)


@check(
    "connections",
    skill=5,
    points=7,
    needs=[predict_gives_the_models_answer],
    hint="Make the client once, when the app starts (lifespan), and use it for all requests.",
)
def connections_are_shared(busy: Wired, seed: int, evidence: EvidenceBox) -> None:
    """Over 200 requests, the number of connections to the model server stays small."""
    rows = different(MANY, seed, "many")
    with busy.stub.behaving("answer"), ThreadPoolExecutor(AT_A_TIME) as executor:
        answers = list(executor.map(lambda row: busy.api.predict([row.tolist()]), rows))
        count, calls = len(busy.stub.connections), len(busy.stub.calls)
    evidence.text("What the model server saw", f"{calls} calls to predict, through {count} connections")
    for row, answer in zip(rows, answers, strict=True):
        require_own_answer(answer, row[np.newaxis], [busy.stub.model], f"One of {MANY} requests")
    if count > MOST_CONNECTIONS:
        fail(
            f"{MANY} requests, {AT_A_TIME} at a time, opened {count} connections to the model server.",
            f"No more than {MOST_CONNECTIONS}; a shared client needs about {AT_A_TIME}.",
        )


@check(
    "overlap",
    skill=6,
    points=8,
    needs=[predict_gives_the_models_answer],
    hint="In `async def`, nothing may block: await an async client. In `def`, FastAPI uses threads.",
)
def slow_requests_overlap(busy: Wired, seed: int, evidence: EvidenceBox) -> None:
    """Twenty slow requests are all with the model server at the same time, and the app stays alive meanwhile."""
    rows = different(SLOW, seed, "slow")
    with busy.stub.behaving("hold"), ThreadPoolExecutor(SLOW) as executor:
        waiting = [executor.submit(busy.api.predict, [row.tolist()]) for row in rows]
        peak = busy.stub.wait_in_flight(SLOW)
        alive = busy.api.ask("/health/live", seconds=30)
        busy.stub.release()
        answers = [future.result() for future in waiting]
    evidence.text("What the model server saw", f"{peak} requests at the same time, at most")
    if peak < SLOW:
        saw = f"Of {SLOW} requests, at most {peak} were with the model server at the same time."
        fail(saw, f"All {SLOW}.", NARROW if peak > 1 else "")
    if alive.status != 200:
        fail(f"With {SLOW} requests waiting, GET /health/live gave: {short(alive)}", "200, at once.")
    for row, answer in zip(rows, answers, strict=True):
        require_own_answer(answer, row[np.newaxis], [busy.stub.model], f"One of {SLOW} slow requests")


@check(
    "deadline",
    skill=7,
    points=4,
    needs=[no_model_server_is_a_503],
    hint="`asyncio.timeout(settings.model_timeout)` is for the whole call; clients' own start anew with every byte.",
)
def a_slow_model_server_is_a_504(hurried: Wired, pixels: Array, evidence: EvidenceBox) -> None:
    """A model server that says nothing, or a byte now and then, is 504 when `MODEL_TIMEOUT` is over."""
    for kind, what in (("hold", "that says nothing"), ("drip", "that sends a byte now and then")):
        with hurried.stub.behaving(kind):  # type: ignore[arg-type]
            # It says nothing more until we have an answer: whoever waits for it waits in vain.
            answer = hurried.api.predict(pixels.tolist(), seconds=30)
        show(evidence, f"A model server {what}, with MODEL_TIMEOUT={SHORT:g}", answer)
        if answer.status != 504:
            saw = f"With a model server {what}, and MODEL_TIMEOUT={SHORT:g}, POST /predict gave: {short(answer)}"
            fail(saw, "504, when MODEL_TIMEOUT is over.")


@check(
    "bad-gateway",
    skill=7,
    points=2,
    needs=[predict_gives_the_models_answer],
    hint="Look at the status before the body, and don't believe a body: parse it, and look for what you need.",
)
def a_broken_model_server_is_a_502(wired: Wired, pixels: Array, evidence: EvidenceBox) -> None:
    """A model server that answers with an error, or with nonsense, is 502."""
    for kind, what in (("broken", "that fails"), ("nonsense", "that answers 200 and nonsense")):
        with wired.stub.behaving(kind):  # type: ignore[arg-type]
            answer = wired.api.predict(pixels.tolist())
        show(evidence, f"A model server {what}", answer)
        if answer.status != 502:
            fail(f"With a model server {what}, POST /predict gave: {short(answer)}", "502.")


@check(
    "retries",
    skill=8,
    points=3,
    needs=[no_model_server_is_a_503],
    hint="Three attempts at most. A 503 and a connection that breaks before an answer may be tried again.",
)
def what_may_pass_is_tried_again(wired: Wired, pixels: Array, evidence: EvidenceBox) -> None:
    """A model server that is unavailable for a moment is asked again, three attempts at most."""
    for kind, what in (("unavailable", "said once that it is unavailable"), ("hang up", "hung up once")):
        with wired.stub.behaving(kind, times=1):  # type: ignore[arg-type]
            answer = wired.api.predict(pixels.tolist())
            calls = len(wired.stub.calls)
        show(evidence, f"A model server that {what}; it was called {calls} times", answer)
        if answer.status != 200:
            fail(f"After the model server {what}, POST /predict gave: {short(answer)}", "Another attempt, and 200.")
    with wired.stub.behaving("unavailable"):
        answer = wired.api.predict(pixels.tolist())
        calls = len(wired.stub.calls)
    show(evidence, f"A model server that stays unavailable; it was called {calls} times", answer)
    if calls > ATTEMPTS:
        saw = f"While it was unavailable, the model server was called {calls} times for one request."
        fail(saw, "Three attempts at most.")
    require_503(answer, "With the model server unavailable, POST /predict")


@check(
    "no-retries",
    skill=8,
    points=2,
    needs=[no_model_server_is_a_503],
    hint="Trying again mends no bad request and no bug, and a server that is slow gets slower with every retry.",
)
def what_will_not_pass_is_not_tried_again(hurried: Wired, pixels: Array, evidence: EvidenceBox) -> None:
    """An error that won't pass, and an answer that is late, are not tried again."""
    for kind, what in (("invalid", "400"), ("broken", "500"), ("hold", "too late")):
        with hurried.stub.behaving(kind):  # type: ignore[arg-type]
            answer = hurried.api.predict(pixels.tolist(), seconds=30)
            calls = len(hurried.stub.calls)
        show(evidence, f"A model server that answers {what}; it was called {calls} times", answer)
        if calls > 1:
            fail(f"A model server that answers {what} was called {calls} times for one request.", "Once.")


@check(
    "jitter",
    skill=8,
    points=2,
    needs=[what_may_pass_is_tried_again],
    hint="`random.uniform(0, backoff)`: callers who failed together should not come back together.",
)
def retries_wait_for_a_random_time(wired: Wired, seed: int, evidence: EvidenceBox) -> None:
    """The wait before a retry is random, between 0 and `RETRY_BACKOFF`."""
    rows = different(WAITS, seed, "waits")
    with wired.stub.behaving("unavailable"), ThreadPoolExecutor(WAITS // 2) as executor:
        list(executor.map(lambda row: wired.api.predict([row.tolist()]), rows))
        calls = list(wired.stub.calls)
    moments: dict[bytes, list[float]] = {}
    for call in calls:
        moments.setdefault(call.rows.tobytes(), []).append(call.at)
    waits = sorted(times[1] - times[0] for times in moments.values() if len(times) > 1)
    shown = ", ".join(f"{wait:.3f}" for wait in waits)
    evidence.text(f"Seconds before the first retry of {len(waits)} requests, with RETRY_BACKOFF={BACKOFF:g}", shown)
    if len(waits) < WAITS:
        fail(f"Of {WAITS} requests, {len(waits)} were tried again.", "All: the model server said 503.")
    # However busy the machine is, nobody comes back before his time: waits that are all as long as the longest allowed
    # are fixed, unless the machine delays them all, which it never does evenly. Neither do the three smallest and
    # largest count where the question is whether they differ at all.
    spread = waits[-4] - waits[3]
    if spread < 0.16 * BACKOFF or (waits[0] >= BACKOFF and spread < BACKOFF):
        fail(
            f"Of {WAITS} waits before the first retry, the shortest was {waits[0]:.3f} seconds and the longest "
            f"{waits[-1]:.3f}; most of them lie within {spread:.3f} seconds of each other.",
            f"Random times between 0 and the {BACKOFF:g} seconds of RETRY_BACKOFF.",
        )


@dataclass(frozen=True)
class Unwilling:
    """An API that does not answer the client, and what the client has to do.

    Attributes:
        status: what it answers instead.
        seconds: for how long; then 200.
        words: what it answers, for a sentence.
        times: how often the client may ask.
        ok: whether it ends with exit code 0.
        expected: this, as a sentence.
    """

    status: int
    seconds: float
    words: str
    times: frozenset[int]
    ok: bool
    expected: str


TWICE, SEVERAL, ONCE = frozenset({2}), frozenset(range(2, ATTEMPTS + 1)), frozenset({1})
UNWILLING = (
    Unwilling(
        status=503,
        seconds=1.0,
        words="503 with Retry-After: 1 for a second, and 200 from then on",
        times=TWICE,
        ok=True,
        expected="It asks twice, a second apart, and ends with exit code 0.",
    ),
    Unwilling(
        status=503,
        seconds=60.0,
        words="503 with Retry-After: 1, always",
        times=SEVERAL,
        ok=False,
        expected="It asks again, gives up after three attempts at most, and ends with exit code 1.",
    ),
    Unwilling(422, 60.0, "422", ONCE, False, "It asks once, and ends with exit code 1: the request stays wrong."),
    Unwilling(403, 60.0, "403", ONCE, False, "It asks once, and ends with exit code 1: the key stays wrong."),
)


@check(
    "client-retries",
    skill=8,
    points=2,
    needs=[predict_gives_the_models_answer],
    hint="After 503, sleep as long as Retry-After says, and try again; after 422 or 403, don't.",
)
def the_client_retries_too(programs: Programs, pixels: Array, evidence: EvidenceBox) -> None:
    """`client.py` tries again after a 503, when `Retry-After` says, three attempts at most; not after a 422 or 403."""

    def ask(case: Unwilling) -> None:
        with unwilling(
            case.status, case.seconds, b'{"predictions": [], "model_version": 1, "request_id": "r"}'
        ) as stub:
            argv = ("client.py", "--url", stub.url, "--timeout", "20", "predict")
            stdin = json.dumps(pixels.tolist()).encode()
            finished, printed = programs.json(*argv, stdin=stdin, env={"API_KEY": "a-key"})
            count = sum(request.method == "POST" for request in stub.requests)
        asked = f"asked {count} time{'s' if count != 1 else ''}"
        evidence.http(
            f"An API that answers {case.words}", shown(argv), f"It {asked}, and printed {json.dumps(printed)}"
        )
        if count not in case.times or finished.ok != case.ok:
            fail(
                f"With an API that answers {case.words}, the client {asked}, {finished.ending()} "
                f"and printed {json.dumps(printed)[:300]}.",
                case.expected,
            )

    with ThreadPoolExecutor(len(UNWILLING)) as executor:
        futures: list[Future[None]] = [executor.submit(ask, case) for case in UNWILLING]
        for future in futures:
            future.result()


@check(
    "one-call",
    skill=9,
    points=4,
    needs=[predict_gives_the_models_answer],
    hint="One :predict takes all instances, and answers in their order.",
)
def a_batch_is_one_call(wired: Wired, largest: int, seed: int, evidence: EvidenceBox) -> None:
    """A batch is one call to the model server, and the predictions come in the order of the images."""
    rows = different(largest, seed, "batch")
    with wired.stub.behaving("answer"):
        answer: Answer = wired.api.predict(rows.tolist())
        sizes = [len(call.rows) for call in wired.stub.calls]
    evidence.text("The calls that the model server saw", ", ".join(f"{size} images" for size in sizes) or "none")
    if not sizes:
        fail(
            f"A request with {largest} images, as many as MAX_BATCH allows, made no call. It gave: {short(answer)}",
            f"One call, of {largest} images.",
            "MAX_BATCH is the most that is allowed; one image more is too many.",
        )
    if sizes != [largest]:
        calls = f"{len(sizes)} calls, of {' + '.join(map(str, sizes[:6]))}{' + …' if len(sizes) > 6 else ''} images"
        fail(f"A request with {largest} images made {calls}.", f"One call, of {largest} images.")
    require_own_answer(answer, rows, [wired.stub.model])
