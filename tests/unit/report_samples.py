"""Reports to render in tests: a realistic one with all five verdicts, and one whose every text is hostile."""

from __future__ import annotations

import random

from autograder.report import Evidence, Finding, Report, Result, Verdict
from autograder.report.model import LoadPoint

SKILLS = {
    1: "The export is a SavedModel that takes raw pixels",
    2: "The server reports the model available, and it reads digits",
    3: "Predictions equal the model's own answer, in both formats",
    4: "The client reads the metadata of a model it has never seen",
    5: "The client turns every failure into its typed errors, in time",
    7: "One server holds two models",
    8: "Hot swap under load loses no request",
    10: "Safe publishing: nobody ever sees half a version",
}

HTTP = """\
POST /v1/models/digits:predict HTTP/1.1
Host: localhost:8501
Content-Type: application/json

{"inputs": [[0, 0, 5, 13, 9, 1, 0, 0, …]]}

HTTP/1.1 400 Bad Request
Content-Type: application/json

{"error": "Failed to process element: 0 key: pixels of 'inputs' list. Error: Invalid argument"}
"""

LOG = "\n".join(
    f"2026-11-22 09:14:{second:02d}.1{second:02d}  I  model server: polling /models/digits, versions [1, 2]"
    for second in range(28)
)


def load(count: int = 300, swap_at: float = 3.1, failures: int = 7) -> tuple[LoadPoint, ...]:
    """A load of six seconds in which version 1 hands over to version 2, with failures around the swap."""
    chance = random.Random(8)
    moments = sorted(chance.uniform(0, 6) for _ in range(count))
    failing = set(sorted(moments, key=lambda at: abs(at - swap_at))[:failures])
    points = []
    for at in moments:
        seconds = chance.lognormvariate(-5.6, 0.35) + (0.03 if abs(at - swap_at) < 0.15 else 0)
        if at in failing:
            answer, failed = chance.choice(["connection reset", "503 Service Unavailable"]), True
        else:
            answer, failed = ("1" if at < swap_at else "2"), False
        points.append(LoadPoint(at=at, seconds=seconds, answer=answer, failed=failed))
    return tuple(points)


def result(check: str, skill: int, title: str, points: int, verdict: Verdict, **more: object) -> Result:
    """One result of lab-01, by its short name."""
    return Result.model_validate(
        {"check": f"lab-01/{check}", "skill": skill, "title": title, "points": points, "verdict": verdict} | more
    )


def realistic() -> Report:
    """A submission half way through lab-01: every verdict is in it, and a load with a version switch."""
    passed, failed, blocked = Verdict.PASSED, Verdict.FAILED, Verdict.BLOCKED
    hot_swap = Finding(
        saw="7 of 300 requests failed while version 2 took over: connection reset, 503 Service Unavailable.",
        expected="Every request is answered, first by version 1, then by version 2.",
        hint="Write the new version under a temporary name beside its place, then rename it: one step.",
    )
    column = Finding(
        saw="The column format was answered with 400: Failed to process element: 0 key: pixels.",
        expected="The same ten probabilities for each image as in the row format, within 1e-5.",
        hint="In column format `inputs` is the whole batch: one list for each input of the signature.",
    )
    typed = Finding(
        saw="No answer after 10.0 s from a server that accepts the connection and then says nothing.",
        expected="ServerTimeout, at the latest 1 s after the client's own deadline of 2 s.",
        hint="requests has no deadline unless you give one: timeout=(connect, read).",
    )
    return Report(
        lab="lab-01-serving",
        title="Lab 1: serving a model with TensorFlow Serving",
        submission="ada.lovelace",
        seed=20261122,
        runtime="local",
        isolation=(
            "own network without a route out, own processes, own file system",
            "another user, without privileges",
            "limits on time, memory, processes, files and output",
        ),
        versions={"tfserving": "embedded model server 0.1 (TensorFlow 2.21.0, C API)", "python": "3.11.7"},
        notes=("data/big.csv was left out: 48 MB, and a submission may hold files of 10 MB at most.",),
        skills=SKILLS,
        results=(
            result("saved-model", 1, "train.py exports a SavedModel in a version folder.", 8, passed),
            result("raw-pixels", 1, "It takes raw pixels and any batch size.", 6, passed, seconds=0.8),
            result("available", 2, "serve.sh starts a server that is AVAILABLE.", 8, passed, seconds=1.1),
            result("accuracy", 2, "It reads held-out digits as well as promised.", 6, passed, seconds=0.9),
            result("row-format", 3, "Row format equals the model's own answer.", 8, passed, seconds=0.3),
            result(
                "column-format", 3, "Column format equals the model's own answer.", 8, failed,
                seconds=0.2, finding=column,
                evidence=(Evidence(title="Request and answer", kind="http", text=HTTP),),
            ),
            result(
                "random-weights", 3, "So it does for a model with random weights.", 8, blocked,
                blocked_by=("lab-01/column-format",),
            ),
            result("metadata", 4, "The client names the right input and shape.", 8, passed, seconds=0.4),
            result(
                "typed-errors", 5, "400, 404, refusal, stall and nonsense become typed errors.", 10, failed,
                seconds=10.3, finding=typed, evidence=(Evidence(title="client.py", kind="log", text=LOG),),
            ),
            result(
                "two-models", 7, "One models.config serves two models.", 10, Verdict.ERROR, seconds=30.0,
                finding=Finding(
                    saw="The model server was killed by the machine: out of memory.",
                    hint="Close other programs and grade again; no points are lost by it.",
                ),
            ),
            result(
                "hot-swap", 8, "A new version takes over without one failed request.", 10, failed,
                seconds=7.9, finding=hot_swap,
                evidence=(
                    Evidence(title="300 requests around the swap", kind="load", load=load()),
                    Evidence(title="Model server, last lines", kind="log", text=LOG),
                ),
            ),
            result(
                "no-going-back", 8, "Once version 2 has answered, version 1 never does.", 5, blocked,
                blocked_by=("lab-01/hot-swap",),
            ),
            result(
                "watcher", 10, "A watcher of the folder never sees half a version.", 5, Verdict.NOT_RUN,
                finding=Finding(
                    saw="This machine has no inotify watches left.",
                    expected="At least one free watch.",
                    hint="Raise fs.inotify.max_user_watches, or grade in Docker: --runtime docker.",
                ),
            ),
        ),
        seconds=58.4,
        started="2026-11-22T09:14:00+00:00",
    )  # fmt: skip


HOSTILE_TEXT = (
    "<script>alert(1)</script><img src=http://example.invalid/x.png onerror=alert(2)>"
    "\x1b[2J\x1b[31mred\x1b[0m \x1b]8;;http://example.invalid\x07link\x1b]8;;\x07 NUL:\x00 BEL:\x07 ESC:\x1b "
    "back:\u202ekcab [bold]markup[/bold] {{ 7 * 7 }} ]]> \x85\ufffe & \"quoted\" 'single'\r\n"
)


def hostile() -> Report:
    """A report in which every free text attacks: scripts, escape codes, control characters, endless lines."""
    text = HOSTILE_TEXT
    finding = Finding(saw=text + "A" * 19_000, expected=text, hint=text)
    evidence = (
        Evidence(title=text[:200], kind="log", text="B" * 20_000),
        Evidence(title="</summary>", kind="http", text=text),
        Evidence(
            title="load",
            kind="load",
            load=(
                LoadPoint(at=0.0, seconds=0.01, answer=text[:200]),
                LoadPoint(at=float("nan"), seconds=float("inf"), answer="1"),
                LoadPoint(at=-1.0, seconds=0.0, answer="</svg><script>alert(3)</script>", failed=True),
            ),
        ),
    )
    return Report(
        lab=text,
        title=text,
        submission=text,
        seed=1,
        runtime=text,
        isolation=(text,),
        versions={text: text},
        notes=(text,),
        skills={1: text},
        results=(
            result("one", 1, text, 60, Verdict.FAILED, finding=finding, evidence=evidence),
            result("two", 1, text, 40, Verdict.BLOCKED, blocked_by=("lab-01/one",)),
        ),
        seconds=1.0,
        started=text,
    )
