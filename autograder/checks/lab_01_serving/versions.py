"""Hidden checks of lab 01 about versions: swapped, published and corrupt, while requests keep coming."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import groupby

from autograder.checking import EvidenceBox, check, fail
from autograder.checking.folders import Watch
from autograder.checking.load import Load
from autograder.checking.programs import Programs
from autograder.checking.shelf import Array, Shelf
from autograder.checks.lab_01_serving.answers import server_gives_the_models_own_answer, version_of_answer
from autograder.checks.lab_01_serving.materials import MODEL
from autograder.checks.lab_01_serving.visible import (
    Publishing,
    publish_adds_the_next_version,
)
from autograder.pods import Pod
from autograder.services.savedmodel import random_dense
from autograder.services.tfserving import ModelServer
from autograder.waiting import polling

SOME = 40  # answers that are enough to know that a load is under way
CLIENTS = 4  # that ask at the same time, so that some of them are always on their way
PAUSE = 0.01  # seconds between two requests of a client: hundreds of requests a second, and time for the training


def body_of(row: Array) -> bytes:
    return json.dumps({"instances": row.tolist()}).encode()


def asking(url: str, row: Array, recognise: Callable[[int, bytes], tuple[str, bool]]) -> Load:
    """Some clients that ask about a row, all the time."""
    return Load(url, body_of(row), recognise, connections=CLIENTS, pause=PAUSE)


def no_failures(load: Load, evidence: EvidenceBox, title: str) -> None:
    """Fails the check when a request failed; shows the load whatever happened."""
    evidence.load(title, load.points)
    if load.failures:
        first, count = load.failures[0], len(load.failures)
        fail(
            f"{count} of {len(load.points)} requests failed, the first at {first.at:.1f} s: {first.answer}.",
            "Not one fails.",
        )


def runs(answers: list[str]) -> list[str]:
    """The answers without repetitions: what followed what."""
    return [answer for answer, _ in groupby(answers)]


@check(
    "hot-swap",
    skill=8,
    points=10,
    needs=[server_gives_the_models_own_answer],
    hint="The server loads a new version by itself, before the old one goes; nothing has to be restarted.",
)
def new_version_takes_over(
    server: ModelServer, shelves: dict[str, Shelf], pixels: Array, evidence: EvidenceBox
) -> None:
    """Under load a new version takes over without one failed request, and the old one never answers again."""
    shelf, row = shelves[MODEL], pixels[:1]
    old = max(shelf.models)
    server.wait_available(MODEL, old)
    new = shelf.take_number()
    model = random_dense(shelf.rng)
    shelf.models[new] = model
    recognise = version_of_answer({old: shelf.models[old], new: shelf.models[new]}, row)
    with asking(server.path(MODEL, then=":predict"), row, recognise) as load:
        load.wait_for(str(old), times=SOME, expected=f"Version {old} answers.")
        model.save(shelf.staging(new))
        shelf.reveal(new)
        try:
            load.wait_for(
                str(new),
                times=1,
                expected=f"Version {new} answers soon after it was published.",
                hint="--file_system_poll_wait_seconds=1, and a version policy that follows the latest version.",
            )
            load.wait_for(str(new), times=3 * SOME, expected=f"Version {new} keeps answering.")
        finally:
            evidence.text("What answered", " → ".join(runs(load.answers())[:20]))
    no_failures(load, evidence, f"Version {new} published under load")
    # A request that was on its way when the new version first answered may still get the old one.
    since = min(point.at + point.seconds for point in load.points if point.answer == str(new))
    late = [point for point in load.points if point.answer == str(old) and point.at > since]
    if late:
        fail(
            f"After version {new} had answered, version {old} answered {len(late)} more times.",
            "Never again.",
        )


@check(
    "atomic-publish",
    skill=10,
    points=3,
    needs=[publish_adds_the_next_version],
    hint="Copy to a name beside it that is no number, then rename: on one file system that is one step.",
)
def nobody_sees_half_a_version(pod: Pod, programs: Programs, seed: int, evidence: EvidenceBox) -> None:
    """Whoever watches the base path never sees a version folder that is not complete."""
    base = Publishing(pod, programs, "watched", seed)
    with Watch(pod.outside(base.base)) as watch:
        version = base.publish(evidence)
        seen = watch.seen()
    evidence.text(
        "What appeared in the base path, in order",
        "\n".join(f"{item.name}{'  (a new, empty folder)' if item.made_empty else ''}" for item in seen),
    )
    base.expect_whole(version, 1)
    for item in seen:
        if item.name.isdecimal() and item.made_empty:
            fail(
                f"The folder {item.name} was made empty, and filled while everybody could see it.",
                "Whole or not at all.",
            )
    # It was moved in or linked. What it holds must have been finished before it got its name.
    late = base.written_late(version)
    if late:
        fail(
            f"{late} was written after version {version} had got its name.",
            "Whole or not at all.",
        )


@check(
    "refuse-incomplete",
    skill=10,
    points=2,
    needs=[publish_adds_the_next_version],
    hint="Look for saved_model.pb, and whether it is a SavedModel at all, before you copy anything.",
)
def incomplete_model_is_refused(pod: Pod, programs: Programs, seed: int, evidence: EvidenceBox) -> None:
    """`publish.py` refuses a folder that holds no complete SavedModel, and leaves the base path as it was."""
    base = Publishing(pod, programs, "refusing", seed, published=True)
    variables = {name: content for name, content in base.files.items() if name != "saved_model.pb"}
    for name, files in (
        ("without-graph", variables),
        ("garbage", variables | {"saved_model.pb": b"this is not a SavedModel"}),
        ("empty", variables | {"saved_model.pb": b""}),
    ):
        base.write(f"/course/{name}", files)
        finished, printed = base.run(f"/course/{name}", evidence)
        if finished.exit_code != 1 or "error" not in printed or base.entries() != ["1"]:
            fail(
                f"For an export whose saved_model.pb is {'missing' if name == 'without-graph' else name}, it "
                f"{finished.ending()}, printed {json.dumps(printed)[:300]}, and the versions are {base.entries()}.",
                "Exit code 1, an “error”, and no new version.",
            )


@check(
    "corrupt-version",
    skill=10,
    points=2,
    needs=[new_version_takes_over],
    last=True,
    hint="The server keeps the old version by itself when the new one can't be loaded; leave it running.",
)
def corrupt_version_harms_nobody(
    server: ModelServer, shelves: dict[str, Shelf], pixels: Array, evidence: EvidenceBox
) -> None:
    """A corrupt version that appears under load leaves the old one serving, without one failed request."""
    shelf, row = shelves[MODEL], pixels[:1]
    old = max(shelf.models)
    if old != shelf.newest:
        old = shelf.put()
    server.wait_available(MODEL, old)
    corrupt = shelf.take_number()
    recognise = version_of_answer({old: shelf.models[old]}, row)
    with asking(server.path(MODEL, then=":predict"), row, recognise) as load:
        load.wait_for(str(old), times=SOME, expected=f"Version {old} answers.")
        shelf.staging(corrupt).mkdir()
        (shelf.staging(corrupt) / "saved_model.pb").write_bytes(b"this is not a SavedModel")
        shelf.reveal(corrupt)
        try:
            polling(
                lambda: True if server.states(MODEL).get(corrupt, ("START", ""))[0] not in ("START", "") else None,
                seconds=60,
                saw="The server took no notice of a new version for a minute.",
                expected="It tries to load it.",
                give_up=lambda: not server.running.alive,
            )
            load.wait_for(str(old), times=3 * SOME, expected=f"Version {old} keeps answering.")
        finally:
            shelf.remove(corrupt)
            evidence.text("The server's states", repr(server.states(MODEL)))
            evidence.log("The server's log", server.running.log()[-4000:])
    no_failures(load, evidence, f"The corrupt version {corrupt} under load")
