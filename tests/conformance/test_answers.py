"""Every recorded request gets the recorded answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from .deviations import DEVIATIONS
from .recordings import Recording, differences, recordings
from .server import Server, World

_VERSIONS: Final = {
    "/run/s1/lin": ("lin/1",),
    "/run/s2/multi": ("multi/1",),
    "/run/s2/nodefault": ("nodefault/1",),
    "/run/s3/cls": ("cls/1",),
    "/run/s4/keras": ("keras/1",),
    "/run/s4/keras_multi": ("keras_multi/1",),
    "/run/s5d/lin": ("lin/1", "lin/2", "lin/3"),
    "/run/s6/lin": ("lin/1",),
    "/run/s6/cls": ("cls/1",),
    "/run/s7/multi": ("multi/1",),
    "/run/s9/lin": ("lin/1",),
}
"""The versions in the base paths of the scenarios in which nothing changes."""

_FILES: Final = {
    "/run/s6/mon.config": 'prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }',
    "/run/s6/moff.config": 'prometheus_config { enable: false path: "/monitoring/prometheus/metrics" }',
    "/run/s6/monp.config": 'prometheus_config { enable: true path: "/my/metrics" }',
    "/run/s6/b_small.config": "max_batch_size { value: 4 }\nbatch_timeout_micros { value: 20000 }\n"
    "num_batch_threads { value: 2 }\nmax_enqueued_batches { value: 2 }\n",
    "/run/s6/b_allowed.config": "max_batch_size { value: 8 }\nbatch_timeout_micros { value: 1000 }\n"
    "allowed_batch_sizes: 2\nallowed_batch_sizes: 8\n",
}


@pytest.fixture(scope="module", autouse=True)
def _base_paths(world: World) -> None:
    for base_path, models in _VERSIONS.items():
        for model in models:
            if not (world.path(base_path) / model.split("/")[1]).exists():
                world.add_version(base_path, model.split("/")[1], model)
    if not world.path("/run/s5d/hp").exists():
        world.add_version("/run/s5d/hp", "00000123", "lin/1")
    for file, text in _FILES.items():
        world.write(file, text)
    for recording in recordings("s5d_model_config"):
        if recording.name in ("config", "start") and recording.line.get("config") is not None:
            name = recording.scenario.removeprefix("s5d.")
            world.write(f"/run/s5d/{name}.config", recording.line["config"])


def _requests() -> list[Recording]:
    chosen = [
        recording
        for file in (
            "s1_one_input",
            "s2_multi",
            "s3_classify_regress",
            "s4_keras",
            "s6_monitoring",
            "s7_batching",
        )
        for recording in recordings(file)
        if (recording.is_request and recording.line["response"].get("truncated_to") is None)
        or recording.name in ("body_5mb", "body_20mb_bad", "gzip_zip_bomb_ish")
    ]
    chosen += [
        recording
        for recording in recordings("s5d_model_config")
        if recording.is_request and ".reload" not in recording.scenario
    ]
    chosen += [
        recording
        for recording in recordings("s9_misc")
        if recording.is_request and recording.scenario == "s9.after_disconnects"
    ]
    return sorted(chosen, key=lambda recording: recording.flags)


def _marks(recording: Recording) -> list[pytest.MarkDecorator]:
    """A deviation has its reason, and has to be one."""
    reason = DEVIATIONS.get(f"{recording.file}:{recording.index}")
    return [pytest.mark.xfail(reason=reason, strict=True)] if reason else []


@pytest.mark.parametrize("recording", [pytest.param(each, id=each.id, marks=_marks(each)) for each in _requests()])
def test_a_request_gets_the_recorded_answer(
    recording: Recording, server_with: Callable[[tuple[str, ...]], Server]
) -> None:
    server = server_with(recording.flags)
    answer = server.send(recording.request_bytes())
    found = differences(recording.line["response"], answer.status, answer.headers, answer.body)
    assert not found, "\n".join(found)
