"""How fast the embedded model server is, as ratios to a plain FastAPI app that imports TensorFlow, in one run.

    python benchmarks/modelserver.py [--seconds 3] [--starts 3]

Both serve the same small Keras model (4 → 8 → 3) on loopback, one process each, the load generator (wrk) beside them.
Printed are: start until the first answer; requests per second and latency with 1 and 8 keep-alive clients, for
one row and for 64; resident memory; and where the embedded server's time for a request goes, stage by stage.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

HERE = Path(__file__).parent
REPOSITORY = HERE.parent
MODELS = REPOSITORY / "tests/conformance/recorded/models.tar.gz"
ROW = [5.1, 3.5, 1.4, 0.2]
REAL = {"start": 0.81, "1 client": 1435.0, "8 clients": 5625.0, "resident": 361.0}
"""What a real TensorFlow Serving 2.20 did on a machine of this kind, for comparison (seconds, requests/s, MB)."""


@dataclass(frozen=True)
class Load:
    """What wrk measured: requests per second, latencies in ms, answers that were not 200."""

    rate: float
    p50: float
    p99: float
    failures: int


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on at this moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def answers(url: str) -> bool:
    """Whether a prediction is answered."""
    request = urllib.request.Request(
        url, json.dumps({"instances": [ROW]}).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextlib.contextmanager
def running(command: list[str], url: str) -> Iterator[tuple[psutil.Process, float]]:
    """A server, and the seconds from its start to its first answer."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "3"}
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    try:
        while not answers(url):
            if process.poll() is not None or time.perf_counter() - begin > 120:
                raise SystemExit(f"the server did not start: {' '.join(command)}")
            time.sleep(0.005)
        yield psutil.Process(process.pid), time.perf_counter() - begin
    finally:
        process.terminate()
        process.wait(30)


def load(url: str, rows: int, clients: int, seconds: int, folder: Path) -> Load:
    """Runs wrk."""
    script = folder / f"{rows}.lua"
    body = json.dumps({"instances": [ROW] * rows})
    script.write_text(
        f"wrk.method = 'POST'\nwrk.body = '{body}'\nwrk.headers['Content-Type'] = 'application/json'\n"
        "done = function(summary, latency)\n"
        "  io.write(string.format('RESULT %d %d %d %d %d\\n', summary.requests, summary.duration,"
        " latency:percentile(50), latency:percentile(99), summary.errors.status + summary.errors.read))\nend\n"
    )
    printed = subprocess.run(
        ["wrk", "-t1", f"-c{clients}", f"-d{seconds}", "-s", str(script), url],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", printed)
    if found is None:
        raise SystemExit(f"wrk said nothing of use:\n{printed}")
    count, duration, p50, p99, failures = map(int, found.groups())
    return Load(count / (duration / 1e6), p50 / 1000, p99 / 1000, failures)


def measure(name: str, command: list[str], url: str, starts: int, seconds: int, folder: Path) -> dict[str, float]:
    """Starts a server several times and loads it once."""
    figures: dict[str, float] = {}
    times = []
    for attempt in range(starts):
        with running(command, url) as (process, took):
            times.append(took)
            if attempt < starts - 1:
                continue
            for rows in (1, 64):
                for clients in (1, 8):
                    load(url, rows, clients, 1, folder)
                    seen = load(url, rows, clients, seconds, folder)
                    key = f"{rows} row{'s' if rows > 1 else ''}, {clients} client{'s' if clients > 1 else ''}"
                    figures[key] = seen.rate
                    print(
                        f"  {name:9} {key:18} {seen.rate:8.0f} requests/s   p50 {seen.p50:7.2f} ms"
                        f"   p99 {seen.p99:7.2f} ms   {seen.failures} failed"
                    )
            figures["resident"] = process.memory_info().rss / 1e6
            figures["own"] = process.memory_full_info().uss / 1e6
    figures["start"] = min(times)
    print(
        f"  {name:9} start to first answer {min(times):.2f} s (best of {starts}), resident {figures['resident']:.0f} MB"
    )
    return figures


def main() -> None:
    """Measures both servers and prints the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=3, help="length of each load")
    parser.add_argument("--starts", type=int, default=3, help="how often each server is started")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("This benchmark needs wrk: apt-get install wrk")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with tarfile.open(MODELS) as archive:
            archive.extractall(folder / "models", filter="data")
        rest, grpc, plain = free_ports(3)
        model = folder / "models/keras"
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores before the run")
        embedded_url = f"http://127.0.0.1:{rest}/v1/models/m:predict"
        embedded = measure(
            "embedded",
            [sys.executable, "-m", "autograder.modelserver", f"--rest_api_port={rest}", f"--port={grpc}",
             "--model_name=m", f"--model_base_path={model}"],
            embedded_url, options.starts, options.seconds, folder,
        )  # fmt: skip
        plain_url = f"http://127.0.0.1:{plain}/v1/models/m:predict"
        app = measure(
            "FastAPI",
            [sys.executable, str(HERE / "modelserver_fastapi.py"), str(model / "1"), str(plain)],
            plain_url, max(options.starts - 1, 1), options.seconds, folder,
        )  # fmt: skip
        print("\nratios, embedded to FastAPI")
        print(f"  start                {app['start'] / embedded['start']:5.1f} times faster   (aim: 5)")
        for key in (key for key in embedded if "client" in key):
            aim = "   (aim: 3)" if key.startswith("1 row") else ""
            print(f"  {key:20} {embedded[key] / app[key]:5.1f} times the throughput{aim}")
        print(f"  resident             {embedded['resident'] / app['resident']:5.2f} of the memory    (aim: below 0.5)")
        print(f"  its own memory       {embedded['own'] / app['own']:5.2f} (without pages of files)")
        print("against the real server's figures on a machine of this kind")
        print(
            f"  start {embedded['start']:.2f} s to {REAL['start']} s; 8 clients {embedded['1 row, 8 clients']:.0f} to"
        )
        print(
            f"  {REAL['8 clients']:.0f} requests/s; resident {embedded['resident']:.0f} MB to {REAL['resident']:.0f} MB"
        )
        print("\nwhere a request's time goes in the embedded server")
        subprocess.run(
            [sys.executable, str(HERE / "modelserver_stages.py"), str(model / "1")],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "3"}, stderr=subprocess.DEVNULL,
            check=True,
        )  # fmt: skip


if __name__ == "__main__":
    main()
