"""Grades many submissions at the same time, with Dask: on this machine by default, on a cluster when one is named.

A task is a text and so is its outcome (see ``job``), each graded in a process of its own; Dask only decides where and
when. Its workers never import anything of a student's.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any

import psutil

from autograder.classroom.job import Task, run_task
from autograder.classroom.outcome import Outcome
from autograder.errors import MachineError

EACH = 3 << 30  # bytes of memory that a submission may need at its worst moment


def default_jobs() -> int:
    """How many submissions this machine grades at a time: a processor each, and memory for all of them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, psutil.virtual_memory().available // EACH))


def run_all(tasks: list[Task], jobs: int, scheduler: str = "") -> Iterator[tuple[Task, Outcome | Exception]]:
    """Runs all tasks; gives each with its outcome as soon as it is there, or with what went wrong.

    Args:
        tasks: what to grade.
        jobs: how many at a time on this machine.
        scheduler: the address of a Dask scheduler (``tcp://…:8786``) whose workers see the same files; empty: none.

    Raises:
        MachineError: nobody answers at that address.
    """
    with _client(min(jobs, max(1, len(tasks))), scheduler) as client:
        # Not pure: the same task after a failure is to be run again.
        futures = {client.submit(run_task, task.model_dump_json(), pure=False, retries=1): task for task in tasks}
        for future in _completed(list(futures)):
            task = futures[future]
            error = future.exception()
            if error is not None:
                yield task, error
                continue
            try:
                yield task, Outcome.model_validate_json(future.result())
            except ValueError as wrong:
                yield task, wrong
            finally:
                future.release()


def _completed(futures: list[Any]) -> Iterator[Any]:
    """Futures in the order in which they end."""
    import distributed

    completed: Any = distributed.as_completed
    yield from completed(futures)


@contextlib.contextmanager
def _client(jobs: int, scheduler: str) -> Iterator[Any]:
    import dask
    import distributed

    connect: Any = distributed.Client
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # how each task ended is told by us
    # Many small processes are ours to start, and a worker that waits for one looks stuck to Dask.
    settings = {"distributed.worker.memory.terminate": False, "distributed.admin.tick.limit": "1h"}
    with dask.config.set(settings):
        if scheduler:
            try:
                client = connect(scheduler, timeout=20)
            except (OSError, TimeoutError, ValueError) as error:
                raise MachineError(
                    f"No Dask scheduler answers at {scheduler}.",
                    "The address that `dask scheduler` prints, as in tcp://10.0.0.1:8786.",
                    "Start one with `.venv/bin/dask scheduler`, and workers with `.venv/bin/dask worker ADDRESS`.",
                ) from error
            with client:
                yield client
            return
        # Threads are enough: every task is a process of its own, and nothing listens on the network.
        with (
            distributed.LocalCluster(  # type: ignore[no-untyped-call]
                n_workers=1, threads_per_worker=jobs, processes=False, dashboard_address=None, memory_limit=0
            ) as cluster,
            connect(cluster) as client,
        ):
            yield client
