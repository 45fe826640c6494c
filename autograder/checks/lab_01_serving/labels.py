"""Hidden checks of lab 01 about labels: moved while serving, and never to a version that is not loaded."""

from __future__ import annotations

import json
import os
import secrets

from autograder.checking import EvidenceBox, check, fail
from autograder.checking.programs import Programs, shown
from autograder.checking.shelf import Array, Shelf
from autograder.checks.lab_01_serving.answers import version_of_answer
from autograder.checks.lab_01_serving.materials import MODEL
from autograder.checks.lab_01_serving.relabelling import LabelServer
from autograder.checks.lab_01_serving.versions import SOME, asking, no_failures
from autograder.checks.lab_01_serving.visible import serve_sh_serves
from autograder.pods import Limits, Pod
from autograder.services.http import Answer, ask
from autograder.services.tfserving import ModelServer
from autograder.waiting import polling


@check(
    "reads-config-again",
    skill=9,
    points=2,
    needs=[serve_sh_serves],
    hint="--model_config_file_poll_wait_seconds=1: without it, the server reads models.config only when it starts.",
)
def the_server_follows_its_config_file(
    pod: Pod,
    server: ModelServer,
    shelves: dict[str, Shelf],
    programs: Programs,
    models_config: bytes,
    evidence: EvidenceBox,
) -> None:
    """The server of `serve.sh` reads `models.config` again: a label of `publish.py` is there without a restart."""
    version = max(shelves[MODEL].models)
    server.wait_available(MODEL, version)
    try:
        command(programs, evidence, ("canary", MODEL, str(version)), labels={"canary": version})
        polling(
            lambda: True if version_in(label_answer(server, "canary")) == str(version) else None,
            seconds=20,
            saw=lambda: (
                f"20 seconds after models.config was changed, the server of serve.sh answered for the label canary: "
                f"{str(label_answer(server, 'canary'))[:200]}"
            ),
            expected=f"A second after the change, canary is version {version}.",
        )
    finally:
        restore(pod, models_config)


@check(
    "labels",
    skill=9,
    points=3,
    needs=[serve_sh_serves],
    hint="Write the config file anew in one step, and wait until the server itself answers for the label.",
)
def labels_move_while_serving(
    label_server: LabelServer, programs: Programs, pixels: Array, evidence: EvidenceBox
) -> None:
    """`publish.py` points `canary` at a version, promotes it to `stable` and rolls back, without a failed request."""
    server, models, row = label_server.server, label_server.shelf.models, pixels[:1]
    first, second = sorted(models)

    def move(*argv: str, labels: dict[str, int]) -> None:
        whole = command(programs, evidence, (*argv, *label_server.options()), labels=labels)
        for label, version in labels.items():
            answer = label_answer(server, label)
            if version_in(answer) != str(version):
                fail(
                    f"`{whole}` had ended, and the server answered for {label}: {str(answer)[:200]}",
                    f"By then it answers with version {version}.",
                    "Wait until the server itself answers for the label before you say that it is done.",
                )

    move("canary", MODEL, str(first), labels={"canary": first})
    move("promote", MODEL, labels={"stable": first, "canary": first})
    move("canary", MODEL, str(second), labels={"stable": first, "canary": second})
    recognise = version_of_answer({first: models[first], second: models[second]}, row)
    with asking(server.path(MODEL, label="stable", then=":predict"), row, recognise) as load:
        load.wait_for(str(first), times=SOME, expected=f"stable is version {first}.")
        move("promote", MODEL, labels={"stable": second, "canary": second})
        load.wait_for(str(second), times=SOME, expected=f"After promote, stable is version {second}.")
        move("rollback", MODEL, labels={"stable": first})
        load.wait_for(str(first), times=SOME, expected=f"After rollback, stable is version {first}.")
    no_failures(load, evidence, "The label stable, promoted and rolled back under load")


@check(
    "label-guard",
    skill=9,
    points=3,
    needs=[labels_move_while_serving],
    hint="Ask the server for the version's state before you touch the file; touch nothing unless it is AVAILABLE.",
)
def labels_never_leave_the_loaded_versions(
    label_server: LabelServer, programs: Programs, evidence: EvidenceBox
) -> None:
    """A label is never moved to a version that is not loaded: `publish.py` refuses, and nothing changes."""
    missing = max(label_server.shelf.models) + 1000
    config, canary = label_server.content(), version_in(label_answer(label_server.server, "canary"))
    argv = ("publish.py", "canary", MODEL, str(missing), *label_server.options())
    finished, printed = programs.json(*argv, limits=Limits(seconds=60))
    evidence.http("publish.py canary", shown(argv), json.dumps(printed)[:1000])
    if finished.exit_code != 1 or "error" not in printed:
        fail(
            f"`{shown(argv)}` {finished.ending()} and printed {json.dumps(printed)[:400]}.",
            f"Exit code 1 and an “error”: there is no version {missing}.",
        )
    if label_server.content() != config:
        fail("It refused, but the config file is not what it was before.", "The file is untouched.")
    answer = label_answer(label_server.server, "canary")
    if version_in(answer) != canary:
        fail(f"After the refusal, canary answers with {str(answer)[:300]}.", f"It is still version {canary}.")


def command(programs: Programs, evidence: EvidenceBox, argv: tuple[str, ...], *, labels: dict[str, int]) -> str:
    """Runs a label command of ``publish.py``, which prints at least these labels; gives the command as typed."""
    whole = ("publish.py", *argv)
    finished, printed = programs.json(*whole, limits=Limits(seconds=60))
    evidence.http(f"publish.py {argv[0]}", shown(whole), json.dumps(printed)[:1000])
    found = printed.get("labels")
    if not finished.ok or not isinstance(found, dict) or any(found.get(key) != labels[key] for key in labels):
        fail(
            f"`{shown(whole)}` {finished.ending()} and printed {json.dumps(printed)[:400]}.",
            f"Exit code 0 and {json.dumps({'labels': labels})}.",
        )
    return shown(whole)


def label_answer(server: ModelServer, label: str) -> Answer:
    """What the server says of the version that a label points at."""
    return ask(server.path(MODEL, label=label, then="/metadata"))


def version_in(metadata: Answer) -> str | None:
    """The version that a metadata answer is about."""
    found = metadata.json
    spec = found.get("model_spec") if isinstance(found, dict) else None
    version = spec.get("version") if isinstance(spec, dict) else None
    return version if isinstance(version, str) else None


def restore(pod: Pod, models_config: bytes) -> None:
    """Puts the student's ``models.config`` back, in one step, for the server to read again."""
    folder = pod.open("/submission", os.O_DIRECTORY)
    part = f".models.config-{secrets.token_hex(8)}"
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=folder)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(models_config)
            owner = os.fstat(folder)  # the student's program may have taken the file itself away
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        os.replace(part, "models.config", src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        os.close(folder)
