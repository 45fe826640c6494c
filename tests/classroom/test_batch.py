"""Where tasks run: here, or on a Dask cluster; and a task whose starter is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autograder.classroom import batch
from autograder.classroom.batch import default_jobs, run_all
from autograder.classroom.job import Task, run_task
from autograder.classroom.outcome import Outcome
from autograder.errors import GraderError, MachineError
from autograder.lab import ROOT

from .conftest import Room
from .test_class import add_quick


def tasks(room: Room, count: int) -> list[Task]:
    return [
        Task(root=room.root, assignment="lab-01", student=name, digest=f"digest of {name}")
        for name in add_quick(room, count)
    ]


def test_by_default_as_many_as_fit() -> None:
    assert 1 <= default_jobs() <= 1024


# A cluster is other people's processes: this one says its address and ends with its standard input.
CLUSTER = """
import distributed, sys
if __name__ == "__main__":
    options = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=True, **options) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """The address of a cluster's scheduler."""
    script = tmp_path / "cluster.py"
    script.write_text(CLUSTER)
    with subprocess.Popen(
        [sys.executable, script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "DASK_TEMPORARY_DIRECTORY": str(tmp_path)},  # its scratch folder stays when it ends
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield process.stdout.readline().strip()
        process.stdin.close()
        process.wait(60)


@pytest.mark.timeout(300)
def test_a_cluster_grades_as_this_machine_does(room: Room, cluster: str) -> None:
    wanted = tasks(room, 3)
    there = {task.student: outcome for task, outcome in run_all(wanted, 1, cluster)}
    here = {task.student: outcome for task, outcome in run_all(wanted, 2)}
    assert there.keys() == here.keys() == {task.student for task in wanted}
    for student, outcome in here.items():
        assert isinstance(outcome, Outcome)
        other = there[student]
        assert isinstance(other, Outcome)
        assert other.model_copy(update={"seconds": outcome.seconds}) == outcome
        assert outcome.digest == f"digest of {student}"


def test_nobody_at_the_address_is_said_plainly(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "WAIT", 1)
    with pytest.raises(MachineError, match="No Dask scheduler answers at tcp:"):
        list(run_all(tasks(room, 1), 1, "tcp://127.0.0.1:1"))


def test_a_process_without_an_outcome_is_an_error(room: Room) -> None:
    (task,) = tasks(room, 1)
    with pytest.raises(GraderError, match="no outcome"):
        run_task(task.model_copy(update={"assignment": "lab-99"}).model_dump_json())


def test_a_task_ends_when_its_starter_is_gone(room: Room) -> None:
    (task,) = tasks(room, 1)
    room.add("ada")  # long enough to be interrupted
    text = task.model_copy(update={"student": "ada"}).model_dump_json()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "autograder.classroom.job"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    assert process.stdin is not None
    process.stdin.write(text.encode() + b"\n")
    process.stdin.close()
    assert process.wait(60) == -9
    assert process.stdout is not None
    assert process.stdout.read() == b""
    process.stdout.close()
