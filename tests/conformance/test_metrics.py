"""The metrics have the real server's families, types, labels and buckets, and count the recorded traffic alike."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from .recordings import FOLDER, recordings, same
from .server import Server, World, running

_PATH: Final = "/monitoring/prometheus/metrics"
_COUNTED: Final = ("request_count", "request_latency_count", "runtime_latency_count")


@pytest.fixture(scope="module")
def monitored(world: World, logs: Iterator[Path]) -> Iterator[Callable[..., Server]]:
    """Servers with monitoring on."""
    from contextlib import ExitStack

    base = "/run/s6m/lin"
    world.add_version(base, "1", "lin/1")
    world.write("/run/s6m/mon.config", f'prometheus_config {{ enable: true path: "{_PATH}" }}')
    with ExitStack() as stack:

        def get(*flags: str) -> Server:
            given = ["--model_name=lin", f"--model_base_path={base}", "--monitoring_config_file=/run/s6m/mon.config"]
            return stack.enter_context(running(world, [*given, *flags], next(logs)))

        yield get


def _types(text: str) -> dict[str, str]:
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))


def _samples(text: str, names: tuple[str, ...]) -> dict[str, float]:
    found = re.findall(r"^:tensorflow:serving:(\S+?)\{(.*?)\} (\S+)$", text, re.MULTILINE)
    return {f"{name}{{{labels}}}": float(value) for name, labels, value in found if name in names}


def _buckets(text: str, family: str) -> list[str]:
    found = re.findall(rf'^{family}_bucket\{{(.*?),?le="([^"]+)"\}}', text, re.MULTILINE)
    first = found[0][0]
    return [limit for labels, limit in found if labels == first]


def _number(text: str, name: str) -> float:
    return float(re.findall(rf"^{name}{{}} (\S+)", text, re.MULTILINE)[0])


def _traffic(server: Server) -> None:
    """The traffic of the recording, step by step."""
    good = '{"instances": [[1,2,3]]}'
    for count, method, path, body in (
        (7, "POST", "/v1/models/lin:predict", good),
        (3, "POST", "/v1/models/lin:predict", '{"instances": [[1,2]]}'),
        (2, "POST", "/v1/models/lin:predict", "{"),
        (4, "POST", "/v1/models/nope:predict", good),
        (5, "GET", "/v1/models/lin", ""),
        (6, "GET", "/v1/models/lin/metadata", ""),
        (8, "GET", "/v1/models/zzz", ""),
        (9, "GET", "/v1/models/lin:predict", ""),
        (2, "GET", "/nope", ""),
    ):
        for _ in range(count):
            server.ask(method, path, body)


def test_the_recorded_traffic_is_counted_alike(monitored: Callable[..., Server]) -> None:
    server = monitored()
    _traffic(server)
    answer = server.ask("GET", _PATH)
    text = answer.body.decode()
    expected = (FOLDER / "prometheus_after_traffic.txt").read_text()
    assert answer.headers["content-type"] == "text/plain"
    assert _types(text) == _types(expected)
    assert _samples(text, _COUNTED) == _samples(expected, _COUNTED)
    for family in ("request_latency", "runtime_latency"):
        name = f":tensorflow:serving:{family}"
        assert _buckets(text, name) == _buckets(expected, name)
    core = ":tensorflow:core:graph_run_time_usecs_histogram"
    assert _buckets(text, core) == _buckets(expected, core)


def test_metrics_are_answered_at_their_path_alone(monitored: Callable[..., Server]) -> None:
    server = monitored()
    for recording in recordings("s6_monitoring"):
        if recording.scenario == "s6.paths":
            request = recording.line["request"]
            answer = server.ask(request["method"], request["path"], request.get("body") or "")
            assert answer.status == recording.line["response"]["status"], recording.id
            assert answer.headers["content-type"] == recording.line["response"]["content_type"], recording.id


def test_concurrent_requests_share_batches(world: World, monitored: Callable[..., Server]) -> None:
    world.write(
        "/run/s6m/batching.config",
        "max_batch_size { value: 4 }\nbatch_timeout_micros { value: 20000 }\nnum_batch_threads { value: 2 }\n",
    )
    server = monitored("--enable_batching=true", "--batching_parameters_file=/run/s6m/batching.config")
    statuses: list[int] = []

    def work(body: str) -> None:
        statuses.append(server.ask("POST", "/v1/models/lin:predict", body).status)

    bodies = ['{"instances": [[1,2,3]]}'] * 24 + ['{"inputs": []}', '{"instances": [[1,2]]}']
    threads = [threading.Thread(target=work, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    # A request that fits none of the others fails alone.
    assert sorted(statuses) == [200] * 24 + [400, 400]
    text = server.ask("GET", _PATH).body.decode()
    expected = (FOLDER / "prometheus_batching.txt").read_text()
    assert _types(text) == _types(expected)
    session = ":tensorflow:serving:batching_session:"
    for family in ("input_batch_size", "padding_size", "processed_batch_size", "queuing_latency"):
        assert _buckets(text, session + family) == _buckets(expected, session + family), family
    count = float(re.findall(rf"^{session}processed_batch_size_count{{}} (\S+)", text, re.MULTILINE)[0])
    total = float(re.findall(rf"^{session}processed_batch_size_sum{{}} (\S+)", text, re.MULTILINE)[0])
    assert total == 25
    assert _number(text, f"{session}input_batch_size_count") == 26
    assert _number(text, f"{session}wrapped_run_count") == count + 1, "the request without rows runs alone"
    assert total / count > 1, f"{total:.0f} rows in {count:.0f} batches"


@pytest.mark.parametrize("parameters", ["", "small", "allowed"])
def test_concurrent_requests_are_answered_as_recorded(
    parameters: str, world: World, monitored: Callable[..., Server]
) -> None:
    recorded = [each.line for each in recordings("s7_batching") if each.scenario == f"s7.{parameters or 'default'}"]
    text = recorded[0]["batching_parameters"]
    flags = ["--enable_batching=true"]
    if text:
        world.write(f"/run/s6m/b_{parameters}.config", text)
        flags.append(f"--batching_parameters_file=/run/s6m/b_{parameters}.config")
    server = monitored(*flags)
    rows = '{"instances": [[1,2,3]]}', '{"instances": [[0,1,2],[1,2,3],[2,3,4],[3,4,5]]}'
    for body, count, name in ((rows[0], 16, "concurrent 16 x 1 row"), (rows[1], 24, "concurrent 24 x 4 rows")):
        bodies: list[bytes] = []
        threads = [
            threading.Thread(
                target=lambda body=body, bodies=bodies: bodies.append(  # type: ignore[misc]
                    server.ask("POST", "/v1/models/lin:predict", body).body
                )
            )
            for _ in range(count)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        results = next(line["results"] for line in recorded if line["name"] == name)
        expected = json.loads(next(text for status, text, _ in results if "200" in status))
        assert len(bodies) == count
        assert all(same(expected, json.loads(text)) for text in bodies)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_reads_the_metrics(monitored: Callable[..., Server]) -> None:
    server = monitored()
    _traffic(server)
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=server.ask("GET", _PATH).body, capture_output=True, timeout=60
    )
    # 3 means that it read everything and has advice on style: the real server's names are not Prometheus' style.
    assert checked.returncode in (0, 3), checked.stderr.decode()
    assert b"error while linting" not in checked.stderr
