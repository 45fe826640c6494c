"""Starting with right and wrong flags and files: the recorded exit codes, messages and log lines."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from .deviations import DEVIATIONS, LOG_DEVIATIONS
from .recordings import Recording, recordings, same
from .server import COMMAND, Server, World, free_ports, running, wait_until
from .test_lifecycle import answers

_TENSORFLOW_ITSELF: Final = (
    "reader.cc", "loader.cc", "cpu_feature_guard.cc", "mlir_graph_optimization_pass.cc", "InitializeLog",
)  # fmt: skip
"""Lines that TensorFlow's own library writes, in whatever form its version has."""

_FILES: Final = {
    "/run/s6/mon.config": 'prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }',
    "/run/s6/monbad.config": "prometheus_config { enabled: true }",
    "/run/s6/monempty.config": "",
    "/run/s6/bb.config": "max_batch_size: 4",
    "/run/s6/ba.config": "max_batch_size { value: 4 }\nallowed_batch_sizes: 2\nallowed_batch_sizes: 3\n",
    "/run/s6/bz.config": "num_batch_threads { value: 0 }\n",
    "/run/s6/b_small.config": "max_batch_size { value: 4 }\n",
    "/run/s6/two.config": "model_config_list {"
    ' config { name: "lin" base_path: "/run/s6/lin" model_platform: "tensorflow" }'
    ' config { name: "cls" base_path: "/run/s6/cls" model_platform: "tensorflow" } }',
}


@pytest.fixture(scope="module", autouse=True)
def _files(world: World) -> None:
    for base_path, version, model in (
        ("/run/s6/lin", "1", "lin/1"),
        ("/run/s6/cls", "1", "cls/1"),
        ("/run/s5d/lin", "1", "lin/1"),
        ("/run/s5d/lin", "2", "lin/2"),
        ("/run/s5d/lin", "3", "lin/3"),
    ):
        if not (world.path(base_path) / version).exists():
            world.add_version(base_path, version, model)
    for file, text in _FILES.items():
        world.write(file, text)


def _line(text: str) -> str:
    """A log line without what no two runs share."""
    text = re.sub(r"^\d{4}-\d\d-\d\d [\d:.]+: ", "", text)
    text = re.sub(r"^([IWEF])0000 00:00:[\d.]+\s+\d+ ", r"\1 ", text)
    text = re.sub(r"localhost:-?\d+|port \d+|0\.0\.0\.0:\d+", "PORT", text)
    text = re.sub(r"(?<=servable unload with )\d+|(?<=flags\.cc:)\d+", "N", text)
    # The recordings shortened paths after the fact, so a column behind one is off.
    return re.sub(r"\b\d+:\d+ \(N = 1\)", "POSITION (N = 1)", text)


def _missing_lines(recorded: list[str], log: str) -> list[str]:
    seen = {_line(line) for line in log.splitlines()}
    wanted = [_line(line) for line in recorded if not any(word in line for word in _TENSORFLOW_ITSELF)]
    return [
        line
        for line in wanted
        if line not in seen and line.strip() and not line.startswith("\t--") and line not in LOG_DEVIATIONS
    ]


def _starts() -> list[Recording]:
    chosen = [each for each in recordings("s8_flags_logs") if "args" in each.line]
    for file in ("s5_lifecycle", "s5d_model_config"):
        chosen += [each for each in recordings(file) if "exit_code" in each.line and "args" not in each.line]
    return chosen


def _marks(recording: Recording) -> list[pytest.MarkDecorator]:
    """A deviation has its reason, and has to be one."""
    reason = DEVIATIONS.get(f"{recording.file}:{recording.index}")
    deviates = reason is not None and "version" not in recording.name
    return [pytest.mark.xfail(reason=reason, strict=True)] if deviates else []


@pytest.mark.parametrize("recording", [pytest.param(each, id=each.id, marks=_marks(each)) for each in _starts()])
def test_a_start_ends_as_recorded(recording: Recording, world: World, logs: Iterator[Path]) -> None:
    line = recording.line
    if line.get("config") is not None:
        world.write(line["server_flags"][0].partition("=")[2], line["config"])
    fails = line["exit_code"] not in (None, -15)
    with _started(recording, world, logs) as server:
        if fails:
            code = server.process.wait(5 if _marks(recording) else 60)
            assert code == line["exit_code"], server.log()
        else:
            last = "NET_LOG|Skipped|Failed to start HTTP|Running gRPC" if "args" in line else "NET_LOG|E |W "
            wait_until(lambda: re.search(last, server.log()), "it has started")
        recorded = line.get("log", []) + line.get("stdout", []) + line.get("stderr", [])
        wait_until(
            lambda: not _missing_lines(recorded, server.log()),
            f"the log has all that was recorded; missing: {_missing_lines(recorded, server.log())}",
            0.01 if fails else 20,
        )
        if not fails:
            assert server.process.poll() is None, "it should go on"
        if line.get("rest") and line["rest"][0] is not None:
            import json

            answer = server.ask("GET", "/v1/models/m" if "s5c" in recording.scenario else "/v1/models/lin")
            assert answer.status == line["rest"][0]
            assert same(json.loads(line["rest"][1]), json.loads(answer.body))
            if "s5c" in recording.scenario:
                answers(server, recording.file, f"s5c.{recording.name}")
        elif "rest" in line:
            assert not server.is_open()


def _started(recording: Recording, world: World, logs: Iterator[Path]) -> Any:
    """The server with the recorded flags; ports are free ones."""
    flags = list(recording.flags or recording.line["args"])
    given = [flag for flag in flags if not re.fullmatch(r"--rest_api_port=\d{5}", flag)]
    if "args" in recording.line and not any("rest_api_port=19" in flag for flag in flags):
        return _bare(flags, world, next(logs))
    if recording.name == "rest_port_in_use":
        return _with_port_in_use(given, world, next(logs))
    if recording.name == "same_port":
        return running(world, [*given[2:], "--rest_api_port=0"], next(logs), wait=False)
    return running(world, given, next(logs), wait=False)


class _Process(Server):
    """A server with exactly these flags, except for a gRPC port of its own."""

    def __init__(self, flags: list[str], world: World, log: Path) -> None:
        self.world, self.log_file = world, log
        self.port, self.grpc_port = free_ports(2)
        has_port = any(flag.startswith("--port") for flag in flags)
        arguments = [*([] if has_port or not flags else [f"--port={self.grpc_port}"]), *map(world.here, flags)]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*COMMAND, *arguments], stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _bare(flags: list[str], world: World, log: Path) -> Any:
    if "--port=8500" in flags:
        (port,) = free_ports(1)
        flags = [flag.replace("8500", str(port)) for flag in flags]
    return _Process(flags, world, log)


class _with_port_in_use(_Process):
    def __init__(self, flags: list[str], world: World, log: Path) -> None:
        self._taken = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        super().__init__([*flags, f"--rest_api_port={self._taken.getsockname()[1]}"], world, log)

    def __exit__(self, *arguments: object) -> None:
        self._taken.close()
        super().__exit__(*arguments)


def test_a_base_path_that_comes_later_is_waited_for(world: World, logs: Iterator[Path]) -> None:
    with running(world, ["--model_name=m", "--model_base_path=/run/s5c/later"], next(logs), wait=False) as server:
        wait_until(lambda: "Could not find base path" in server.log(), "it has looked")
        assert not server.is_open()
        world.add_version("/run/s5c/later", "1", "lin/1")
        server.wait_until_open()
        assert server.ask("GET", "/v1/models/m").status == 200


def test_the_version_says_what_it_is(world: World, logs: Iterator[Path]) -> None:
    log = next(logs)
    with _Process(["--version"], world, log) as server:
        assert server.process.wait(60) == 0
    text = log.read_text()
    assert "TensorFlow ModelServer: 2.20.0" in text
    assert re.search(r"TensorFlow Library: \d", text)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGHUP, -1), (signal.SIGQUIT, -3)],
)
def test_a_signal_ends_it(code: int, number: signal.Signals, world: World, logs: Iterator[Path]) -> None:
    with running(world, ["--model_name=lin", "--model_base_path=/run/s6/lin"], next(logs)) as server:
        assert server.stop(number) == code


def test_sigterm_lets_a_running_request_finish(world: World, logs: Iterator[Path], multi: Callable[[], str]) -> None:
    with running(world, ["--model_name=multi", f"--model_base_path={multi()}"], next(logs)) as server:
        body = '{"signature_name": "slow", "instances": [4000]}'
        request = f"POST /v1/models/multi:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            connection.sendall(request.encode())
            wait_until(lambda: _is_busy(server), "the request runs")
            server.process.send_signal(signal.SIGTERM)
            answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert server.process.wait(20) == 0


def test_sigterm_waits_for_the_rest_of_a_request(world: World, logs: Iterator[Path]) -> None:
    with running(world, ["--model_name=lin", "--model_base_path=/run/s6/lin"], next(logs)) as server:
        head = b"POST /v1/models/lin:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 24\r\n\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(head + b'{"instances": ')
            # Answered by the same thread, so the half request before it has been read.
            assert server.ask("GET", "/v1/models/lin").status == 200
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: not server.is_open(), "the port is closed")
            connection.sendall(b"[[1,2,3]]}")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")
        assert server.process.wait(20) == 0


def _is_busy(server: Server) -> bool:
    """Whether the process uses the processor: the request's loop of matrix products."""
    import psutil

    return bool(psutil.Process(server.process.pid).cpu_percent(0.1) > 8)


@pytest.fixture
def multi(world: World) -> Callable[[], str]:
    """A base path with the model that has the slow signature."""

    def get() -> str:
        if not world.path("/run/s9/multi").exists():
            world.add_version("/run/s9/multi", "1", "multi/1")
        return "/run/s9/multi"

    return get
