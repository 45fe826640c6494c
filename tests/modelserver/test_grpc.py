"""The official client package talks to it unchanged."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conformance.server import Server, World, running, wait_until


@pytest.fixture(scope="module")
def seen(world: World) -> Any:
    """What the official client saw."""
    for name, versions in (("lin", ("1", "2")), ("multi", ("1",)), ("cls", ("1",))):
        for version in versions:
            world.add_version(f"/run/grpc/{name}", version, f"{name}/{version}")
    policy = "model_version_policy { specific { versions: 1 versions: 2 } }"
    configs = "".join(
        f'config {{ name: "{name}" base_path: "/run/grpc/{name}" model_platform: "tensorflow" {extra} }}\n'
        for name, extra in (("lin", policy), ("multi", ""), ("cls", ""))
    )
    world.write("/run/grpc/models.config", f"model_config_list {{ {configs} }}")
    log = world.folder / "grpc.log"
    with running(world, ["--model_config_file=/run/grpc/models.config"], log) as server:
        client = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("official_client.py")), f"localhost:{server.grpc_port}"],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert client.returncode == 0, client.stderr[-3000:]
        yield json.loads(client.stdout)


def test_predict_gives_what_rest_gives(seen: Any) -> None:
    assert seen["predict"] == [[pytest.approx(8.11000061), pytest.approx(-14.45)]]
    assert seen["spec"] == ["lin", 2, "serving_default"]
    assert seen["thousand"] == [1000, 2]
    assert seen["filtered"] == {"i2": [8]}


def test_every_type_crosses_unchanged(seen: Any) -> None:
    assert len(seen["types"]) == 15
    assert all(seen["types"].values()), seen["types"]


def test_classify_and_regress(seen: Any) -> None:
    labels = [label for label, _ in seen["classify"][0]]
    scores = [score for _, score in seen["classify"][0]]
    assert labels == ["cat", "dog", "bird"]
    assert scores == pytest.approx([0.170952782, 0.0628900155, 0.76615721])
    assert seen["regress"] == [4.0, 2.5]


def test_metadata_and_status(seen: Any) -> None:
    assert seen["metadata"] == ["serving_default_x:0", 1, [-1, 3]]
    assert seen["status"] == [[2, 30, 0], [1, 30, 0]]


@pytest.mark.parametrize(
    ("case", "code", "text"),
    [
        ("no model", "NOT_FOUND", "Servable not found for request: Latest(nope)"),
        ("no name", "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ("no version", "NOT_FOUND", "Servable not found for request: Specific(lin, 99)"),
        ("no label", "INVALID_ARGUMENT", "Unrecognized servable version label: nope"),
        ("no signature", "FAILED_PRECONDITION", 'Serving signature key "nope" not found.'),
        ("no input", "INVALID_ARGUMENT", "input size does not match signature: 0!=1"),
        ("other input", "INVALID_ARGUMENT", "Signature input alias: x(feed name: serving_default_x:0) not found"),
        ("shape", "INVALID_ARGUMENT", "Matrix size-incompatible: In[0]: [1,1], In[1]: [3,2]"),
        ("type", "INVALID_ARGUMENT", "Expects arg[0] to be float but int32 is provided"),
        ("deadline", "DEADLINE_EXCEEDED", ""),
        ("no field", "INVALID_ARGUMENT", "GetModelMetadataRequest must specify at least one metadata_field"),
        ("status of none", "NOT_FOUND", "Could not find any versions of model nope"),
        ("reload", "INVALID_ARGUMENT", "Expected model lin to have an absolute path or URI; got base_path()=relative"),
    ],
)
def test_an_error_has_its_code_and_text(case: str, code: str, text: str, seen: Any) -> None:
    assert seen["errors"][case][0] == code
    assert text in "".join(seen["errors"][case][1:])


def test_labels_may_point_to_new_versions_if_allowed(serve: Callable[..., Server], world: World) -> None:
    """The flag lets a label that is new point to a version that does not serve yet."""
    world.add_version("/run/labels/lin", "1", "lin/1")
    config = (
        'model_config_list { config { name: "lin" base_path: "/run/labels/lin" model_platform: "tensorflow"'
        " model_version_policy { specific { versions: 1 versions: 2 } }"
        ' version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 } } }'
    )
    world.write("/run/labels/models.config", config)
    server = serve(
        "--model_config_file=/run/labels/models.config", "--allow_version_labels_for_unavailable_models=true"
    )
    body = '{"instances": [[1,2,3]]}'
    assert server.ask("POST", "/v1/models/lin/labels/stable:predict", body).status == 200
    assert server.ask("POST", "/v1/models/lin/labels/canary:predict", body).status == 404


def test_a_label_that_moves_must_find_its_version_serving(serve: Callable[..., Server], world: World) -> None:
    """Also with the flag: a label that exists is not moved to a version that does not serve."""
    for version in ("1", "2"):
        world.add_version("/run/moves/lin", version, f"lin/{version}")

    def config(*labels: tuple[str, int]) -> str:
        entries = " ".join(f'version_labels {{ key: "{label}" value: {version} }}' for label, version in labels)
        return (
            'model_config_list { config { name: "lin" base_path: "/run/moves/lin" model_platform: "tensorflow"'
            f" model_version_policy {{ specific {{ versions: 1 versions: 2 }} }} {entries} }} }}"
        )

    body = '{"instances": [[1,2,3]]}'
    file = "/run/moves/models.config"
    world.write(file, config(("stable", 1)))
    server = serve(
        f"--model_config_file={file}",
        "--model_config_file_poll_wait_seconds=1",
        "--allow_version_labels_for_unavailable_models=true",
    )
    first = server.ask("POST", "/v1/models/lin/labels/stable:predict", body).body
    world.write(file, config(("stable", 9)))
    refused = "Request to assign label to version 9 of model lin, which is not currently available for inference"
    wait_until(lambda: refused in server.log(), "the move is refused")
    assert server.ask("POST", "/v1/models/lin/labels/stable:predict", body).body == first
    world.write(file, config(("stable", 2)))
    wait_until(
        lambda: server.ask("POST", "/v1/models/lin/labels/stable:predict", body).body != first, "the label has moved"
    )
