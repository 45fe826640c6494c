"""Promises of the running server: no crash, no leak, no failed request while versions change."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from conformance.server import REPOSITORY, Server, World, read_answer, wait_until
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autograder.modelserver.capi import TensorFlow
from autograder.modelserver.servable import Servable
from autograder.modelserver.session import RunMode, SessionConfig
from autograder.modelserver.tensor import FLOAT, Tensor

_GOOD = '{"instances": [[1.0, 2.0, 3.0]]}'


def _request(body: bytes, path: str = "/v1/models/lin:predict") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.fixture(scope="module")
def lin(world: World) -> Any:
    """A server with one model, and its answer to a good request."""
    from conformance.server import running

    if not world.path("/run/lin").exists():
        world.add_version("/run/lin", "1", "lin/1")
    with running(world, ["--model_name=lin", "--model_base_path=/run/lin"], world.folder / "lin.log") as server:
        yield server


_BODIES = st.one_of(
    st.binary(max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["x", "y", "b64"]), inner, max_size=3)
        ),
        max_leaves=10,
    ).flatmap(lambda value: st.sampled_from([json.dumps({key: value}).encode() for key in ("instances", "inputs")])),
)


@settings(deadline=None, max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_BODIES)
def test_any_body_gets_a_json_answer(lin: Server, body: bytes) -> None:
    answer = lin.send(_request(body))
    assert answer.status in (200, 400)
    assert answer.headers["content-type"] == "application/json"
    document = json.loads(answer.body.decode("utf-8", "replace"))
    assert ("error" in document) == (answer.status != 200)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(
                [b"GET ", b"POST ", b" HTTP/1.1", b"\r\n", b"Content-Length: 5", b"\r\n\r\n", b"/v1/models/lin"]
            ),
        ),
        max_size=8,
    ).map(b"".join)
)
def test_any_bytes_on_a_connection_leave_it_well(lin: Server, noise: bytes) -> None:
    with socket.create_connection(("127.0.0.1", lin.port), timeout=10) as connection:
        connection.sendall(noise)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    assert lin.process.poll() is None
    assert lin.send(_request(_GOOD.encode())).status == 200


def _resident(server: Server) -> int:
    return int(psutil.Process(server.process.pid).memory_info().rss)


def test_requests_leak_no_memory(lin: Server) -> None:
    """Thirty thousand requests, right and wrong ones; a leak of 100 bytes each would show."""
    bodies = [
        _GOOD.encode(),
        b'{"inputs": {"x": [[1, 2, 3], [4, 5, 6]]}}',
        b'{"instances": [[1, 2]]}',
        b'{"instances": [{"x": [1, 2, null]}]}',
        b"{",
    ]
    requests = b"".join(map(_request, bodies))
    sizes = []
    with socket.create_connection(("127.0.0.1", lin.port), timeout=30) as connection:
        for _ in range(6):
            for _ in range(1000):
                connection.sendall(requests)
                received = b""
                while received.count(b"HTTP/1.1 ") < len(bodies) or not received.endswith(b"}"):
                    received += connection.recv(65536)
            sizes.append(_resident(lin))
    assert sizes[-1] - sizes[1] < 100 * len(bodies) * 4000, sizes


def test_strings_leak_no_memory(serve: Callable[..., Server], world: World) -> None:
    world.add_version("/run/strings", "1", "multi/1")
    server = serve("--model_name=multi", "--model_base_path=/run/strings")
    body = json.dumps({"signature_name": "id_string", "inputs": ["x" * 5000] * 20}).encode()
    request = _request(body, "/v1/models/multi:predict")
    sizes = []
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        for _ in range(4):
            for _ in range(150):
                connection.sendall(request)
                assert read_answer(connection).status == 200
            sizes.append(_resident(server))
    # 150 requests carry 15 MB; half of that is noise enough.
    assert sizes[-1] - sizes[1] < 7_500_000, sizes


def test_versions_change_without_a_failed_request(serve: Callable[..., Server], world: World) -> None:
    base = "/run/swap"
    world.add_version(base, "1", "lin/1")
    server = serve("--model_name=lin", f"--model_base_path={base}")
    stop = threading.Event()
    failures: list[bytes] = []
    seen: list[list[int]] = [[] for _ in range(3)]
    versions = {b"-1.88999987, -4.45": 1, b"8.11000061, -14.45": 2, b"18.11, -24.45": 3}

    def load(mine: list[int]) -> None:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            while not stop.is_set():
                connection.sendall(_request(_GOOD.encode()))
                answer = read_answer(connection)
                version = next((number for text, number in versions.items() if text in answer.body), None)
                if answer.status != 200 or version is None:
                    failures.append(answer.body)
                elif not mine or mine[-1] != version:
                    mine.append(version)

    threads = [threading.Thread(target=load, args=(mine,)) for mine in seen]
    for thread in threads:
        thread.start()
    for version in ("2", "3"):
        world.add_version(base, version, f"lin/{version}")
        wait_until(lambda want=int(version): all(mine[-1:] == [want] for mine in seen), f"{version} answers")  # type: ignore[misc]
    ended = b'"version": "1",\n   "state": "END"'
    wait_until(lambda: ended in server.ask("GET", "/v1/models/lin").body, "1 has ended")
    stop.set()
    for thread in threads:
        thread.join(30)
    assert not failures, failures[:3]
    assert seen == [[1, 2, 3]] * 3


@pytest.mark.parametrize("wait", [0, 600])
def test_reading_the_configuration_again_is_no_look_at_the_base_paths(
    serve: Callable[..., Server], world: World, wait: int
) -> None:
    run = f"/run/patient-{wait}"
    world.add_version(f"{run}/lin", "1", "lin/1")
    world.write(
        f"{run}/models.config",
        f'model_config_list {{ config {{ name: "lin" base_path: "{run}/lin" model_platform: "tensorflow" }} }}',
    )
    server = serve(
        f"--model_config_file={run}/models.config",
        "--model_config_file_poll_wait_seconds=1",
        f"--file_system_poll_wait_seconds={wait}",
    )

    def readings() -> int:
        return server.log().count("Finished adding/updating models")

    world.add_version(f"{run}/lin", "2", "lin/2")
    before = readings()
    wait_until(lambda: readings() >= before + 2, "the configuration was read twice since then")
    assert '"version": "2"' not in server.ask("GET", "/v1/models/lin").body.decode()


def test_the_models_folder_may_lie_elsewhere(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFSERVING_MODELS_ROOT", str(world.path("/models")))
    monkeypatch.delenv("HOME", raising=False)
    server = Server(world, [], tmp_path / "unused.log")
    server.stop()
    started = subprocess.run(
        [sys.executable, "-m", "autograder.modelserver", f"--port={server.grpc_port}", "--max_num_load_retries=0",
         "--model_base_path=/models/corrupt"],
        capture_output=True, text=True, timeout=60, cwd="/", env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert started.returncode == 255
    assert "DATA_LOSS: Can't parse /models/corrupt/1/saved_model.pb as binary proto" in started.stdout
    assert str(world.folder) not in started.stdout


def test_the_first_line_of_the_log_says_what_it_is(lin: Server) -> None:
    assert re.search(r"embedded model server: .*TensorFlow Serving 2\.20.*C library \d", lin.log().splitlines()[0])


def test_unloading_gives_memory_back(tensorflow: TensorFlow, models: Path) -> None:
    inputs = {"x": Tensor(FLOAT, (1, 3), bytes(12))}
    sizes = []
    for _ in range(5):
        for _ in range(6):
            servable = Servable(tensorflow, "lin", 1, str(models / "lin/1"), ["serve"], SessionConfig())
            signature = servable.signature("")
            servable.run(signature, inputs, signature.outputs, RunMode(inline=True))
            servable.unload()
        sizes.append(psutil.Process().memory_full_info().uss)
    assert sizes[-1] - sizes[1] < 2_000_000, sizes
