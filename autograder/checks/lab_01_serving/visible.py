"""The checks of lab 01 that students get with the lab."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np

from autograder.checking import EvidenceBox, check, fail, stubs
from autograder.checking.folders import written_after
from autograder.checking.programs import Programs, shown
from autograder.checking.shelf import Array, Shelf, generator
from autograder.checks.lab_01_serving.beginning import OURS, CourseServer, Started
from autograder.checks.lab_01_serving.fixtures import TOLERANCE
from autograder.checks.lab_01_serving.materials import MODEL, SECOND
from autograder.pods import Finished, Pod
from autograder.services.http import Answer
from autograder.services.savedmodel import random_dense, signatures
from autograder.services.tfserving import ModelServer


def predictions(answer: Answer, key: str, *, rows: int) -> Array:
    """The numbers of a ``:predict`` answer, one row for each that was sent. Fails the check when there are none."""
    found = answer.json
    values = found.get(key) if isinstance(found, dict) else None
    return numbers(values, rows=rows, said=f"The server answered: {str(answer)[:600]}", key=key)


def numbers(values: object, *, rows: int, said: str, key: str) -> Array:
    try:
        array = np.array(values)
    except (TypeError, ValueError, OverflowError):
        array = np.empty(0)
    if array.ndim != 2 or len(array) != rows or array.dtype.kind not in "fiu":
        fail(said, f"“{key}” holds one list of numbers for each of the {rows} rows.")
    return array.astype(np.float32)


def far(found: Array, expected: Array) -> str:
    """Where two answers differ by more than the tolerance, as a clause; empty when they agree."""
    if found.shape != expected.shape:
        return f"the answer has the shape {found.shape}, the model's own {expected.shape}"
    wrong = np.argwhere(~(np.abs(found - expected) <= TOLERANCE))
    if not len(wrong):
        return ""
    row, column = wrong[0]
    return f"row {row}, number {column} is {found[row, column]:.7g}; the model itself gives {expected[row, column]:.7g}"


@check(
    "export",
    skill=1,
    points=4,
    visible=True,
    hint="Keras 3 writes a SavedModel with `model.export(folder)`; `model.save(folder)` is an error.",
)
def export_is_a_saved_model(trained: Finished, export: Path, evidence: EvidenceBox) -> None:
    """`train.py` writes a SavedModel into the version folder that it is told."""
    evidence.log("What train.py printed", trained.tail(30))
    files = sorted(path.relative_to(export).as_posix() for path in export.rglob("*") if path.is_file())
    evidence.text("The files in the version folder", "\n".join(files))
    if "saved_model.pb" not in files:
        fail(
            f"The version folder holds {', '.join(files[:8]) or 'no files'}.",
            "A SavedModel: saved_model.pb, and its variables beside it.",
        )


@check(
    "signature",
    skill=1,
    points=3,
    needs=[export_is_a_saved_model],
    visible=True,
    hint="Look at it with `saved_model_cli show --dir DIR --tag_set serve --signature_def serving_default`.",
)
def signature_takes_raw_pixels(export: Path, evidence: EvidenceBox) -> None:
    """Its signature takes any number of rows of 64 raw pixels, and gives 10 probabilities for each."""
    try:
        found = signatures((export / "saved_model.pb").read_bytes())
    except ValueError as error:
        fail(f"saved_model.pb can't be read: {error}.", "A SavedModel, as TensorFlow writes it.")
    if "serving_default" not in found:
        fail(f"The export has the signatures {sorted(found)}.", "One of them is serving_default.")
    signature = found["serving_default"]
    evidence.text("serving_default, from saved_model.pb", json.dumps(asdict(signature), indent=1))
    for tensors, part, name, expected in (
        (signature.inputs, "inputs", "input", [-1, 64]),
        (signature.outputs, "outputs", "output", [-1, 10]),
    ):
        if len(tensors) != 1:
            fail(f"It has {len(tensors)} {part}: {', '.join(tensors)}.", f"Exactly one {name}.")
        ((tensor, info),) = tensors.items()
        if info.dtype != "DT_FLOAT" or info.shape != expected:
            fail(
                f"The {name} “{tensor}” is {info.dtype} {'of any shape' if info.shape is None else info.shape}.",
                f"DT_FLOAT {expected}; -1 stands for any size.",
            )


@check(
    "serves",
    skill=2,
    points=5,
    visible=True,
    hint="Run `bash serve.sh` in a terminal and read the server's log. Are the ports 8501 (REST) and 8500 (gRPC)?",
)
def serve_sh_serves(started: Started, shelves: dict[str, Shelf], evidence: EvidenceBox) -> None:
    """The server that `serve.sh` starts reports the model AVAILABLE."""
    student = started.student
    try:
        server = student.first()
        server.wait_available(MODEL, min(shelves[MODEL].models))
    finally:
        if student.server is not None:
            evidence.log("The server's log", student.server.running.log())


@check(
    "client-predict",
    skill=3,
    points=5,
    visible=True,
    hint="Row format sends {“instances”: [...]} and gets “predictions”; column format sends “inputs”, gets “outputs”.",
)
def client_predicts(course: CourseServer, programs: Programs, pixels: Array, evidence: EvidenceBox) -> None:
    """The client sends rows in row or column format, in one request, and gives the model's own answer."""
    version = min(course.shelf.models)
    expected = course.shelf.models[version](pixels)
    with stubs.proxy(course.server.port) as seen:
        for style, key in (("row", "instances"), ("column", "inputs")):
            seen.requests.clear()
            options = ("--format", style, "--version", str(version))
            argv = ("client.py", "--url", seen.url, "predict", OURS, *options)
            finished, printed = programs.json(*argv, stdin=json.dumps(pixels.tolist()).encode())
            sent = [request for request in seen.requests if request.method == "POST"]
            evidence.http(
                f"What the client sent in {style} format",
                "\n".join(f"{request.method} {request.path} {request.body[:300]!r}" for request in sent),
                finished.stdout[:600].decode("utf-8", "replace"),
            )
            if "predictions" not in printed:
                fail(
                    f"`{shown(argv)}` printed {json.dumps(printed)[:300]}.",
                    "A JSON object with “predictions”.",
                )
            if len(sent) != 1 or not isinstance(sent[0].json, dict) or list(sent[0].json) != [key]:
                keys = [list(request.json) if isinstance(request.json, dict) else "no JSON object" for request in sent]
                fail(
                    f"In {style} format the client sent {len(sent)} requests with the keys {keys}.",
                    f"One, with “{key}”.",
                )
            values = printed["predictions"]
            if isinstance(values, dict) and len(values) == 1:  # column format, with the outputs' names kept
                (values,) = values.values()
            found = numbers(
                values, rows=len(pixels), said=f"It printed {json.dumps(printed)[:300]}.", key="predictions"
            )
            if difference := far(found, expected):
                fail(f"In {style} format, {difference}.", f"The server's numbers, to within {TOLERANCE:g}.")


@check(
    "error-404",
    skill=5,
    points=2,
    visible=True,
    hint="Look at the status before you look at the body, and raise ModelNotFound for 404.",
)
def client_names_a_missing_model(
    course: CourseServer, programs: Programs, pixels: Array, evidence: EvidenceBox
) -> None:
    """The client turns 404 into `ModelNotFound`."""
    rows = json.dumps(pixels[:1].tolist()).encode()
    expect_error(programs, evidence, "ModelNotFound", course.server.url, "predict", "no-such-model", stdin=rows)


def expect_error(
    programs: Programs,
    evidence: EvidenceBox,
    error: str,
    url: str,
    *argv: str,
    stdin: bytes = b"",
    timeout: float = 20,
) -> None:
    """Runs the client, which has to end with exit code 1 and the given error."""
    command = ("client.py", "--url", url, "--timeout", f"{timeout:g}", *argv)
    finished, printed = programs.json(*command, stdin=stdin)
    output = finished.stdout[:1000] + finished.stderr[-2000:]
    evidence.http("The client's command and what it printed", shown(command), output.decode("utf-8", "replace"))
    if printed.get("error") != error or finished.exit_code != 1:
        fail(
            f"It {finished.ending()} and printed {json.dumps(printed)[:400]}.",
            f"Exit code 1 and {{“error”: “{error}”, “message”: …}}.",
        )


@check(
    "two-models",
    skill=7,
    points=6,
    needs=[serve_sh_serves],
    visible=True,
    hint="`models.config` is one `model_config_list` with a `config { … }` for each model.",
)
def one_server_holds_two_models(
    server: ModelServer, shelves: dict[str, Shelf], pixels: Array, evidence: EvidenceBox
) -> None:
    """One server holds both models of `models.config`, and each answers with its own numbers."""
    for name in (MODEL, SECOND):
        version = max(shelves[name].models)
        server.wait_available(name, version)
        answer = server.ask(name, {"instances": pixels.tolist()}, version=version)
        evidence.http(f"A request to {name}", answer.request, str(answer))
        difference = far(predictions(answer, "predictions", rows=len(pixels)), shelves[name].models[version](pixels))
        if difference:
            fail(f"For {name}, {difference}.", f"{name} answers from /models/{name}.")


@check(
    "publish",
    skill=10,
    points=3,
    visible=True,
    hint="The next version is the highest that is there + 1; names that are no number do not count.",
)
def publish_adds_the_next_version(pod: Pod, programs: Programs, seed: int, evidence: EvidenceBox) -> None:
    """`publish.py publish` copies a SavedModel to the next version and says which one that is."""
    base = Publishing(pod, programs, "next", seed)
    first = base.publish(evidence)
    base.expect_whole(first, 1)
    for name in ("9", "10", "x12", "11.tmp"):
        base.make_folder(name)
    base.expect_whole(base.publish(evidence), 11)


class Publishing:
    """A base path of its own for ``publish.py``, and a complete SavedModel to publish there, or there already."""

    def __init__(self, pod: Pod, programs: Programs, name: str, seed: int, *, published: bool = False) -> None:
        self.pod, self.programs = pod, programs
        self.base = f"/models/{name}"
        self.export = f"/course/to-publish-{name}"
        pod.outside(self.base).mkdir()
        self.files = {"saved_model.pb": random_dense(generator(seed, name)).serialized()}
        self.files |= {
            "variables/variables.index": os.urandom(4096),
            "variables/variables.data-00000-of-00001": bytes(4 << 20),
        }
        self.write(self.export, self.files)
        if published:
            self.write(f"{self.base}/1", self.files)
        pod.grant(self.base)

    def write(self, folder: str, files: dict[str, bytes]) -> None:
        for name, content in files.items():
            path = self.pod.outside(f"{folder}/{name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def descriptor(self) -> int:
        return self.pod.open(self.base, os.O_DIRECTORY)

    def make_folder(self, name: str) -> None:
        descriptor = self.descriptor()
        try:
            os.mkdir(name, dir_fd=descriptor)
        finally:
            os.close(descriptor)

    def run(self, export: str, evidence: EvidenceBox) -> tuple[Finished, dict[str, object]]:
        argv = ("publish.py", "publish", self.pod.inside(export), self.pod.inside(self.base))
        finished, printed = self.programs.json(*argv)
        evidence.http("The command and what it printed", shown(argv), json.dumps(printed)[:1000])
        return finished, printed

    def publish(self, evidence: EvidenceBox) -> int:
        """Publishes the good one; gives the version that was printed."""
        finished, printed = self.run(self.export, evidence)
        version = printed.get("version")
        if not finished.ok or not isinstance(version, int) or isinstance(version, bool):
            fail(
                f"publish.py {finished.ending()} and printed {json.dumps(printed)[:400]}.",
                "{“version”: N} and exit code 0.",
            )
        return version

    def entries(self) -> list[str]:
        """The numbered names below the base path."""
        descriptor = self.descriptor()
        try:
            return sorted(name for name in os.listdir(descriptor) if name.isdecimal())
        finally:
            os.close(descriptor)

    def expect_whole(self, version: int, number: int) -> None:
        """Fails the check unless ``version`` is ``number`` and holds every byte of the export."""
        if version != number:
            fail(
                f"It says that it published version {version}; there is {', '.join(self.entries())}.",
                f"Version {number}.",
            )
        for name, content in self.files.items():
            try:
                found = self._read(version, name, len(content) + 1)
            except OSError:
                fail(f"Version {version} has no {name}.", "Every file of the export, in its place.")
            if found != content:
                fail(
                    f"In version {version}, {name} has other bytes than in the export.",
                    "A copy, byte for byte.",
                )

    def written_late(self, version: int) -> str:
        """The first file of a version that was written after the version got its name; empty if there is none."""
        descriptor = self.descriptor()
        try:
            appeared = os.stat(str(version), dir_fd=descriptor, follow_symlinks=False).st_ctime_ns
        finally:
            os.close(descriptor)
        folder = self.pod.open(self._home(version), os.O_DIRECTORY)
        try:
            return written_after(appeared, folder)
        finally:
            os.close(folder)

    def _read(self, version: int, name: str, most: int) -> bytes:
        return self.pod.read(f"{self._home(version)}/{name}", most)

    def _home(self, version: int) -> str:
        """Where a version's files are: the version itself may be a link to a folder of the same base path."""
        descriptor = self.descriptor()
        try:
            goal = os.readlink(str(version), dir_fd=descriptor)
        except OSError:
            goal = str(version)
        finally:
            os.close(descriptor)
        goal = goal.removeprefix(self.pod.inside(self.base)).strip("/")
        if ".." in goal.split("/"):
            raise OSError("a link out of the base path")
        return f"{self.base}/{goal}"


__all__ = ["Publishing", "expect_error", "far", "numbers", "predictions"]
