"""Which runtime it is: asked for by name, by the environment, or found out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autograder.cli import main
from autograder.errors import GraderError, MachineError, UsageError
from autograder.pods import LocalPod, open_pod, wanted
from autograder.pods.docker.open import OpenPod
from autograder.pods.docker.runtime import DockerRuntime
from autograder.pods.images import ImagesMissing


@pytest.mark.parametrize(
    ("name", "variable", "expected"),
    [
        ("auto", None, "auto"),
        ("auto", "", "auto"),
        ("auto", "local", "local"),
        ("auto", "docker", "docker"),
        ("local", "docker", "local"),
        ("docker", "nonsense", "docker"),
    ],
)
def test_a_name_stands_above_the_environment(
    name: str, variable: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNTIME", raising=False)
    if variable is not None:
        monkeypatch.setenv("RUNTIME", variable)
    assert wanted(name) == expected


def test_a_runtime_that_is_none_is_an_error_that_says_who_asked_for_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNTIME", "dokcer")
    with pytest.raises(UsageError) as told:
        wanted()
    assert told.value.saw == "The variable RUNTIME is “dokcer”."
    assert told.value.expected == "One of auto, local, docker."
    with pytest.raises(UsageError, match="The runtime that was asked for is “podman”"):
        wanted("podman")
    assert main(["up", "lab-01"]) == 2
    assert "The variable RUNTIME is “dokcer”." in capsys.readouterr().err
    assert main(["grade", "lab-01", "--runtime", "podman"]) == 2
    assert "“podman”" in capsys.readouterr().err


def opened(runtime: str, folder: Path) -> tuple[Any, list[str]]:
    said: list[str] = []
    return open_pod(runtime, ["tfserving"], folder / "pod", folder / "lock", {}, [], say=said.append), said


def test_without_an_engine_auto_is_local_and_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    pod, said = opened("auto", tmp_path)
    with pod:
        assert isinstance(pod, LocalPod)
    assert said == []
    with pytest.raises(MachineError, match="does not answer"):
        opened("docker", tmp_path)


def test_an_engine_that_lacks_images_or_this_machines_folders_is_left_alone_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def available(services: Any) -> Any:
        raise ImagesMissing(["TensorFlow Serving"])

    monkeypatch.setattr(DockerRuntime, "available", available)
    pod, said = opened("auto", tmp_path)
    with pod:
        assert pod.runtime == "local"
    assert said == [
        "This runs without Docker: the engine answers, but has no image for TensorFlow Serving: run `make images`."
    ]
    with pytest.raises(ImagesMissing):
        opened("docker", tmp_path)

    class Elsewhere:
        engine, images = None, {}

    def refuse(*_: Any) -> None:
        raise GraderError("Docker failed: opening the ports: no such folder.")

    monkeypatch.setattr(DockerRuntime, "available", lambda services: Elsewhere)
    monkeypatch.setattr(OpenPod, "__init__", refuse)
    pod, said = opened("auto", tmp_path)
    with pod:
        assert pod.runtime == "local"
    assert said == ["This runs without Docker. Docker failed: opening the ports: no such folder."]
    with pytest.raises(GraderError):
        opened("docker", tmp_path)
