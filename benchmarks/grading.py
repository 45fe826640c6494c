"""How fast lab 01 is graded, against what can't be avoided: the student's own training and one start of each service.

    .venv/bin/python benchmarks/grading.py [RUNS]

Everything is measured in this run, one after the other; the medians are printed, and their ratios, and a timeline of
the last grade. Run it on a machine that does nothing else: the load of the others stands in the last line. Processor
time is of ours alone, and so says a little on a busy machine too.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from autograder.grading import grade
from autograder.lab import SOLUTIONS, load_lab
from autograder.pods import LocalPod
from autograder.report import Result
from autograder.services.savedmodel import random_dense
from autograder.services.tfserving import start_model_server, wait_started

LAB = load_lab("lab-01")
REFERENCE = SOLUTIONS / LAB.id
QUIET = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
COLUMNS = 60  # of the timeline


class Cost(NamedTuple):
    """What something took: seconds by the clock, and of processor time in all processes that have ended."""

    seconds: float
    cpu: float


def processor_time() -> float:
    ours, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return ours.ru_utime + ours.ru_stime + ended.ru_utime + ended.ru_stime


def median(measure: Callable[[], float], runs: int) -> Cost:
    """The medians of some runs after one that warms the disk's cache up."""
    measure()
    seconds, cpu = [], []
    for _ in range(runs):
        before = processor_time()
        seconds.append(measure())
        cpu.append(processor_time() - before)
    return Cost(statistics.median(seconds), statistics.median(cpu))


def command(*argv: str) -> Callable[[], float]:
    """The wall time of a whole process."""

    def measure() -> float:
        begin = time.perf_counter()
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=QUIET)
        return time.perf_counter() - begin

    return measure


def training() -> float:
    with tempfile.TemporaryDirectory() as folder:
        return command(sys.executable, str(REFERENCE / "train.py"), "--out", f"{folder}/1")()


def server_start() -> float:
    """From the start of the model server's process to AVAILABLE."""
    with tempfile.TemporaryDirectory() as folder, LocalPod(Path(folder)) as pod:
        model = pod.outside("/models/m")
        random_dense(np.random.default_rng(0)).save(model / "1")
        begin = time.perf_counter()
        config = 'model_config_list { config { name: "m" base_path: "/models/m" model_platform: "tensorflow" } }'
        wait_started(start_model_server(pod, (18501, 18500), config), "m")
        return time.perf_counter() - begin


class Timeline:
    """When each check began and ended."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.ends: dict[str, tuple[float, float]] = {}

    def planned(self, total: int) -> None: ...

    def started(self, check_id: str, title: str) -> None:
        self.ends[check_id] = (time.perf_counter() - self.began, 0.0)

    def finished(self, result: Result) -> None:
        self.ends[result.check] = (self.ends[result.check][0], time.perf_counter() - self.began)

    def show(self) -> None:
        whole = max(end for _, end in self.ends.values())
        for check, (begin, end) in sorted(self.ends.items(), key=lambda item: item[1]):
            first, last = int(begin / whole * COLUMNS), int(end / whole * COLUMNS)
            print(f"{check.partition('/')[2]:20}{begin:6.2f}{end:7.2f}  {' ' * first}{'█' * (last - first) or '▏'}")


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    shown = Timeline()

    def whole_grade() -> float:
        nonlocal shown
        shown = Timeline()
        report = grade(LAB, REFERENCE, runtime="local", progress=shown)
        assert report.score == 100, f"the reference has {report.score} points"
        return time.perf_counter() - shown.began

    import_tensorflow = median(command(sys.executable, "-c", "import tensorflow"), runs).seconds
    start = median(server_start, runs)
    print(f"import tensorflow                {import_tensorflow:6.2f} s")
    print(f"model server, start to AVAILABLE {start.seconds:6.2f} s   ", end="")
    print(f"{import_tensorflow / start.seconds:.1f} times faster (aim: 5)")
    train = median(training, runs)
    graded = median(whole_grade, runs)
    ratio = graded.seconds / (train.seconds + start.seconds)
    print(f"the reference's train.py         {train.seconds:6.2f} s   {train.cpu:.1f} s of processor time")
    print(f"grading the reference            {graded.seconds:6.2f} s   {graded.cpu:.1f} s of processor time")
    print(f"                                           {ratio:.2f} times both (aim: < 1.5)")
    usage = median(command(sys.executable, "-m", "autograder", "--help"), 2 * runs).seconds
    print(f"python -m autograder --help      {usage:6.2f} s   (aim: < 0.3 s)\n")
    shown.show()
    print(f"\nload average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
