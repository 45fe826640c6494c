"""How fast lab 02 is graded, against what can't be avoided.

    .venv/bin/python benchmarks/lab_02.py [RUNS]

What can't be avoided is counted as: one start of the student's app until it answers, then one start of the model
server until the model is AVAILABLE (both measured here, one after the other), and what the contract itself makes us
wait for, one after the other since they share an instance: two MODEL_TIMEOUTs of the hurried instance for ``deadline``
and one for ``no-retries``, one second of Retry-After twice for ``client-retries``. Not counted: schemathesis, 200
requests, the client's own starts. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

from grading import server_start

from autograder.checks.lab_02_apis.beginning import SHORT
from autograder.grading import grade
from autograder.lab import SOLUTIONS, load_lab

LAB = load_lab("lab-02")
REFERENCE = SOLUTIONS / LAB.id
CONTRACT = 3 * SHORT + 2 * 1.0  # seconds


def app_start() -> float:
    """From the start of the app's process to its first answer."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = str(held.getsockname()[1])
    begin = time.perf_counter()
    env = {**os.environ, "API_KEY": "k", "PORT": port}
    with subprocess.Popen(
        [sys.executable, "-m", "app"], cwd=REFERENCE, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as app:
        try:
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=10).close()
                    return time.perf_counter() - begin
                except OSError:
                    time.sleep(0.01)
        finally:
            app.terminate()


def main() -> None:
    runs = max(1, int(sys.argv[1])) if len(sys.argv) > 1 else 3
    app = statistics.median(app_start() for _ in range(runs + 1))
    server = statistics.median(server_start() for _ in range(runs + 1))
    reports = [grade(LAB, REFERENCE, runtime="local") for _ in range(runs + 1)][1:]
    assert {report.score for report in reports} == {100}, [report.score for report in reports]
    graded = statistics.median(report.seconds for report in reports)
    least = app + server + CONTRACT
    print(f"the app, start to first answer   {app:6.2f} s")
    print(f"model server, start to AVAILABLE {server:6.2f} s")
    print(f"what the contract waits for      {CONTRACT:6.2f} s")
    print(f"grading the reference            {graded:6.2f} s   {graded / least:.2f} times all three (aim: < 1.5)")
    print("the slowest checks:")
    for result in sorted(reports[-1].results, key=lambda result: -result.seconds)[:6]:
        print(f"    {result.check:<24} {result.seconds:6.2f} s")


if __name__ == "__main__":
    main()
