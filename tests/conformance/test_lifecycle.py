"""Versions come and go as in the recorded timelines: the same states in the same order, the same answers after each.

Seconds are not compared. A state that lasts a moment (START, LOADING, UNLOADING) may be seen by one watcher and missed
by another; what a recording shows must appear here, in its order.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .recordings import Recording, differences, recordings
from .server import Server, World, running, wait_until

_FINISHED = "Finished adding/updating models"
_QUIET_SECONDS = 1.3
"""How long nothing may change where the recording shows that nothing does: more than one look at the folder."""


def _find(file: str, scenario: str, name: str) -> Recording:
    return next(each for each in recordings(file) if each.scenario == scenario and each.name == name)


def _states(body: bytes) -> list[tuple[str, str, str, str]]:
    """Version, state, code and message of each entry of a status."""
    return [
        (entry["version"], entry["state"], entry["status"]["error_code"], entry["status"]["error_message"])
        for entry in json.loads(body)["model_version_status"]
    ]


def follow(server: Server, recording: Recording, act: Callable[[], Any]) -> None:
    """Does `act` and watches the status go through what the recording shows."""
    path = recording.line["path"]
    recorded = [_comparable(_states(change["body"].encode())) for change in recording.line["changes"]]
    seen = [_comparable(_states(server.ask("GET", path).body))]
    assert seen[0] == recorded[0], "the state before"
    act()

    def arrived() -> bool:
        now = _comparable(_states(server.ask("GET", path).body))
        if now != seen[-1]:
            seen.append(now)
        return now == recorded[-1]

    if len(recorded) == 1:
        end = time.monotonic() + _QUIET_SECONDS
        wait_until(lambda: not arrived() or time.monotonic() > end, "nothing happens")
        assert seen == recorded
        return
    wait_until(arrived, f"the status is {recorded[-1]}, after {seen}", 20)
    rest = iter(seen)
    missing = [each for each in recorded if not _is_transient(each) and each not in rest]
    assert not missing, f"{missing} is missing or late in {seen}"


def _comparable(states: list[tuple[str, str, str, str]]) -> list[tuple[str, ...]]:
    from .recordings import _INTERNAL

    return [(version, state, code, _INTERNAL.sub("…", message)) for version, state, code, message in states]


def _is_transient(states: list[tuple[str, ...]]) -> bool:
    return any(state in ("START", "LOADING", "UNLOADING") for _, state, *_ in states)


def answers(server: Server, file: str, scenario: str) -> None:
    """Sends the requests of a scenario and compares the answers."""
    chosen = [each for each in recordings(file) if each.scenario == scenario and each.is_request]
    assert chosen, f"nothing recorded for {scenario}"
    for recording in chosen:
        request = recording.line["request"]
        answer = server.ask(request["method"], request["path"], request.get("body") or "")
        found = differences(recording.line["response"], answer.status, answer.headers, answer.body)
        assert not found, f"{recording.id}: {found}"


@pytest.fixture
def start(world: World, logs: Iterator[Path]) -> Iterator[Callable[..., Any]]:
    """Starts a server with flags, as a context manager."""
    return lambda *flags, wait=True: running(world, flags, next(logs), wait)  # type: ignore[return-value]


def test_versions_are_added_removed_and_added_again(world: World, start: Callable[..., Any]) -> None:
    file, base = "s5_lifecycle", "/run/s5a/lin"
    folder = world.path(base)
    world.add_version(base, "1", "lin/1")
    with start("--model_name=lin", f"--model_base_path={base}") as server:
        answers(server, file, "s5a.v1")
        follow(server, _find(file, "s5a", "add_v2"), lambda: world.add_version(base, "2", "lin/2"))
        answers(server, file, "s5a.v2")
        follow(server, _find(file, "s5a", "add_v10"), lambda: world.add_version(base, "10", "lin/3"))
        answers(server, file, "s5a.v10")
        follow(server, _find(file, "s5a", "remove_v10"), lambda: shutil.rmtree(folder / "10"))
        answers(server, file, "s5a.removed10")
        follow(server, _find(file, "s5a", "add_v5"), lambda: world.add_version(base, "5", "lin/1"))
        answers(server, file, "s5a.v5")
        follow(
            server,
            _find(file, "s5a", "remove_all"),
            lambda: [each.rename(folder.parent / f".gone-{each.name}") for each in sorted(folder.iterdir())],
        )
        answers(server, file, "s5a.removed_all")
        follow(server, _find(file, "s5a", "readd_v5"), lambda: world.add_version(base, "5", "lin/1"))
        answers(server, file, "s5a.readd")
        follow(server, _find(file, "s5a", "remove_base"), lambda: shutil.rmtree(folder))


def test_odd_names_and_zero_and_timestamps_as_versions(world: World, start: Callable[..., Any]) -> None:
    file = "s5_lifecycle"
    world.add_version("/run/s5a2/lin", "002", "lin/2")
    for name in ("latest", "1.5", "v3", ".hidden"):
        (world.path("/run/s5a2/lin") / name).mkdir()
    world.add_version("/run/s5a3/lin", "0", "lin/1")
    world.add_version("/run/s5a4/lin", "20260101120000", "lin/2")
    world.path("/run/s9/real").mkdir(parents=True, exist_ok=True)
    for base, scenario in (("s5a2/lin", "s5a.odd"), ("s5a3/lin", "s5a.zero"), ("s5a4/lin/", "s5a.timestamp")):
        with start("--model_name=lin", f"--model_base_path=/run/{base}") as server:
            answers(server, file, scenario)
    with start("--model_name=lin", "--model_base_path=file:///run/s9/real/../../s5a4/lin") as server:
        answers(server, "s9_misc", "s9.file_url")


@pytest.mark.parametrize(
    ("name", "flags"),
    [("noretry", []), ("retry2", ["--max_num_load_retries=2", "--load_retry_interval_micros=200000"])],
)
def test_a_corrupt_version_leaves_the_old_one_serving(
    name: str, flags: list[str], world: World, start: Callable[..., Any]
) -> None:
    file, base = "s5_lifecycle", f"/run/s5b/{name}"
    world.add_version(base, "1", "lin/1")
    retries = flags or ["--max_num_load_retries=0"]
    with start("--model_name=lin", f"--model_base_path={base}", *retries) as server:
        corrupt = _find(file, "s5b", f"add_corrupt_{name}")
        follow(server, corrupt, lambda: world.add_version(base, "2", "corrupt/1"))
        answers(server, file, f"s5b.corrupt_{name}")
        good = _find(file, "s5b", f"add_good_after_{name}")
        follow(server, good, lambda: world.add_version(base, "3", "lin/2"))
        answers(server, file, f"s5b.good_after_{name}")


@pytest.mark.parametrize(
    ("name", "model"),
    [("emptyver", "emptyver/1"), ("novars", "novars/1"), ("warmbad", "warmbad/1"), ("warm", "warm/1")],
)
def test_an_incomplete_or_warm_version(name: str, model: str, world: World, start: Callable[..., Any]) -> None:
    file, base = "s5_lifecycle", f"/run/s5b/x_{name}"
    world.add_version(base, "1", "lin/1")
    with start("--model_name=lin", f"--model_base_path={base}", "--max_num_load_retries=0") as server:
        follow(server, _find(file, "s5b", f"add_{name}"), lambda: world.add_version(base, "2", model))
        answers(server, file, f"s5b.{name}")


def test_a_corrupt_version_is_retried_five_times_by_default(world: World, start: Callable[..., Any]) -> None:
    base = "/run/s5e/lin"
    world.add_version(base, "1", "lin/1")
    with start("--model_name=lin", f"--model_base_path={base}", "--load_retry_interval_micros=100000") as server:
        recording = _find("s5e_default_retry", "s5e", "corrupt v2 added, default retries")
        follow(server, recording, lambda: world.add_version(base, "2", "corrupt/1"))
        answers(server, "s5e_default_retry", "s5e.after")
        assert [line.count("retry: 5") for line in [server.log()]] == [1]
        shutil.rmtree(world.path(base) / "2" / "saved_model.pb", ignore_errors=True)


def test_a_symlinked_base_and_version(world: World, start: Callable[..., Any]) -> None:
    real = world.add_version("/run/s9/real", "1", "lin/1").parent
    link = world.path("/run/s9/symbase")
    link.symlink_to(real)
    elsewhere = world.add_version("/run/s9/elsewhere", "2", "lin/2")
    with start("--model_name=lin", "--model_base_path=/run/s9/symbase") as server:
        parts = [each for each in recordings("s9_misc") if each.scenario == "s9.symlink"]
        follow(server, parts[2], lambda: (real / "2").symlink_to(elsewhere))
        for recording in parts[3:]:
            request = recording.line["request"]
            answer = server.ask(request["method"], request["path"], request.get("body") or "")
            assert not differences(recording.line["response"], answer.status, answer.headers, answer.body)


def test_a_version_that_is_completed_late_is_loaded_by_a_retry(world: World, start: Callable[..., Any]) -> None:
    base = "/run/s9/slowcopy"
    world.add_version(base, "1", "lin/1")

    def copy_slowly() -> None:
        target = world.path(base) / "2"
        target.mkdir()
        wait_until(lambda: "cannot" in server.log() or "failed: NOT_FOUND" in server.log(), "it has failed once")
        shutil.copytree(world.path("/models/lin/2"), target, dirs_exist_ok=True)

    with start("--model_name=lin", f"--model_base_path={base}", "--load_retry_interval_micros=500000") as server:
        recording = next(each for each in recordings("s9_misc") if each.scenario == "s9.slowcopy")
        follow(server, recording, copy_slowly)
        answers(server, "s9_misc", "s9.slowcopy")


def test_the_latest_two_versions_serve(world: World, start: Callable[..., Any]) -> None:
    base = "/run/s9/l2"
    for version in ("1", "2"):
        world.add_version(base, version, f"lin/{version}")
    world.write(
        "/run/s9/l2.config",
        f'model_config_list {{ config {{ name: "lin" base_path: "{base}" model_platform: "tensorflow"'
        " model_version_policy { latest { num_versions: 2 } } } }",
    )
    with start("--model_config_file=/run/s9/l2.config") as server:
        recording = next(each for each in recordings("s9_misc") if each.scenario == "s9.latest2")
        follow(server, recording, lambda: world.add_version(base, "3", "lin/3"))


def test_the_configuration_is_reloaded(world: World, start: Callable[..., Any]) -> None:
    file = "s5d_model_config"
    for version in ("1", "2", "3"):
        if not (world.path("/run/s5d/lin") / version).exists():
            world.add_version("/run/s5d/lin", version, f"lin/{version}")
    if not world.path("/run/s5d/hp").exists():
        world.add_version("/run/s5d/hp", "00000123", "lin/1")
    first = (
        'model_config_list {\n  config { name: "lin" base_path: "/run/s5d/lin" model_platform: "tensorflow"'
        " model_version_policy { specific { versions: 1 } } }\n}\n"
    )
    config = "/run/s5d/reload.config"
    world.write(config, first)
    with start(f"--model_config_file={config}", "--model_config_file_poll_wait_seconds=1") as server:
        _follow_configs(server, world, file, "s5d.reload", config)
        world.path(config).unlink()
        last = _find(file, "s5d.reload", "12_file_deleted")
        assert server.ask("GET", "/v1/models/hp").body.decode() == last.line["rest"][1]


def test_labels_move_only_to_loaded_versions(world: World, start: Callable[..., Any]) -> None:
    config = "/run/s5f/noflag.config"
    for version in ("1", "2", "3"):
        world.add_version("/run/s5f/lin", version, f"lin/{version}")
    world.write(
        config,
        'model_config_list { config { name: "lin" base_path: "/run/s5f/lin" model_platform: "tensorflow"'
        " model_version_policy { specific { versions: 1 versions: 2 } } } }",
    )
    with start(f"--model_config_file={config}", "--model_config_file_poll_wait_seconds=1") as server:
        _follow_configs(server, world, "s5f_labels_reload", "s5f.noflag", config)


def _follow_configs(server: Server, world: World, file: str, scenario: str, config: str) -> None:
    """Writes one configuration after the other and compares timelines, logs and answers."""
    steps = [each for each in recordings(file) if each.scenario == scenario and "changes" in each.line]
    for step in steps:
        written = _find(file, scenario, f"{step.name}.log")
        before = len(server.log())
        expected = [line for line in written.line["log"] if line.startswith("E") and "1:42" not in line]

        def write(text: str = written.line["config"]) -> None:
            world.write(config, text)

        if expected:
            write()
            # Of two labels that are wrong, chance decides which one the real server names.
            messages = {line.partition("] ")[2] for line in expected}
            wait_until(
                lambda texts=messages, at=before: any(text in server.log()[at:] for text in texts),  # type: ignore[misc]
                f"the log says one of {messages}",
            )
            if len(step.line["changes"]) > 1:
                final = _comparable(_states(step.line["changes"][-1]["body"].encode()))
                wait_until(
                    lambda want=final, path=step.line["path"]: (  # type: ignore[misc]
                        _comparable(_states(server.ask("GET", path).body)) == want
                    ),
                    "the status is as recorded",
                )
        elif len(step.line["changes"]) > 1:
            follow(server, step, write)
            wait_until(lambda at=before: _FINISHED in server.log()[at:], "the reload has finished")  # type: ignore[misc]
        else:
            write()
            # One reload may have begun before the file was written: the second one has read it.
            wait_until(lambda at=before: server.log()[at:].count(_FINISHED) >= 2, "it has been reloaded")  # type: ignore[misc]
        prefix = f"{scenario}.{step.name}"
        for part in (prefix, f"{scenario}.{step.name.split('_')[0]}"):
            if any(each.scenario == part and each.is_request for each in recordings(file)):
                wait_until(lambda part=part: _settled(server, file, part), f"the answers of {part}", 20)  # type: ignore[misc]
                answers(server, file, part)


def _settled(server: Server, file: str, scenario: str) -> bool:
    try:
        answers(server, file, scenario)
    except AssertionError:
        return False
    return True
