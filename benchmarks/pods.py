"""How soon grading gives its first verdict, in both runtimes, against the least that a container can do.

    .venv/bin/python benchmarks/pods.py [RUNS]

The least is a plain ``docker run`` of the same image, until its server has given one good answer. Everything is
measured in this run; the medians are printed. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np

from autograder.grading import Silent, grade
from autograder.lab import SOLUTIONS, load_lab
from autograder.pods.docker.runtime import DockerRuntime
from autograder.report import Result
from autograder.services.savedmodel import random_dense

LAB = load_lab("lab-01")


class Stop(Exception):
    """The first verdict is there: what comes after it is not measured."""


class First(Silent):
    """Ends the grading at its first verdict."""

    def __init__(self) -> None:
        self.at = 0.0

    def finished(self, result: Result) -> None:
        self.at = time.perf_counter()
        raise Stop


def first_verdict(runtime: str) -> float:
    """Seconds from the call to the first verdict."""
    first, begin = First(), time.perf_counter()
    try:
        grade(LAB, SOLUTIONS / LAB.id, runtime=runtime, progress=first)
    except Stop:
        return first.at - begin
    raise AssertionError("there was no verdict")


def plain_run(image: str) -> float:
    """Seconds from ``docker run`` to the server's first good answer."""
    with tempfile.TemporaryDirectory() as folder:
        random_dense(np.random.default_rng(0)).save(Path(folder) / "1")
        Path(folder).chmod(0o755)
        begin = time.perf_counter()
        argv = ["docker", "run", "-d", "--rm", "-p", "127.0.0.1::8501", "-v", f"{folder}:/models/model:ro", image]
        box = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
        try:
            shown = subprocess.run(["docker", "port", box, "8501"], check=True, capture_output=True, text=True).stdout
            url = f"http://{shown.split()[0]}/v1/models/model:predict"
            body = json.dumps({"instances": [[0.0] * 64]}).encode()
            while True:
                try:
                    with urllib.request.urlopen(url, body, timeout=5):
                        return time.perf_counter() - begin
                except OSError:
                    time.sleep(0.01)
        finally:
            subprocess.run(["docker", "kill", box], check=True, capture_output=True)


def median(measure: Callable[[], float], runs: int) -> float:
    """The median of some runs after one that warms the disk's cache up."""
    measure()
    return statistics.median(measure() for _ in range(runs))


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    image = DockerRuntime.available(LAB.services).images["tfserving"]
    print(image.sentence())
    plain = median(lambda: plain_run(image.id), runs)
    print(f"docker run, to the first answer   {plain:5.2f} s")
    for runtime in ("docker", "local"):
        seconds = median(lambda runtime=runtime: first_verdict(runtime), runs)  # type: ignore[misc]
        print(f"{runtime:<6} grade, to the 1st verdict  {seconds:5.2f} s   {seconds / plain:.2f} times (aim: < 1.3)")


if __name__ == "__main__":
    main()
