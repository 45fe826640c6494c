"""How fast lab 01 is graded, against what can't be avoided: the student's own training and one start of each service.

    .venv/bin/python benchmarks/grading.py [RUNS]

Everything is measured in this run, one after the other; the medians are printed, and their ratios. Run it on a machine
that does nothing else.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from autograder.grading import grade
from autograder.lab import SOLUTIONS, load_lab
from autograder.pods import LocalPod
from autograder.services.savedmodel import random_dense
from autograder.services.tfserving import start_model_server, wait_started

LAB = load_lab("lab-01")
REFERENCE = SOLUTIONS / LAB.id
QUIET = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}


def median(measure: Callable[[], float], runs: int) -> float:
    """The median of some runs after one that warms the disk's cache up. Seconds."""
    measure()
    return statistics.median(measure() for _ in range(runs))


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


def whole_grade() -> float:
    begin = time.perf_counter()
    report = grade(LAB, REFERENCE, runtime="local")
    assert report.score == 100, f"the reference has {report.score} points"
    return time.perf_counter() - begin


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    import_tensorflow = median(command(sys.executable, "-c", "import tensorflow"), runs)
    start = median(server_start, runs)
    print(f"import tensorflow                {import_tensorflow:6.2f} s")
    print(f"model server, start to AVAILABLE {start:6.2f} s   {import_tensorflow / start:.1f} times faster (aim: 5)")
    train = median(training, runs)
    graded = median(whole_grade, runs)
    print(f"the reference's train.py         {train:6.2f} s")
    print(f"grading the reference            {graded:6.2f} s   {graded / (train + start):.2f} times both (aim: < 1.5)")
    usage = median(command(sys.executable, "-m", "autograder", "--help"), 2 * runs)
    print(f"python -m autograder --help      {usage:6.2f} s   (aim: < 0.3 s)")


if __name__ == "__main__":
    main()
