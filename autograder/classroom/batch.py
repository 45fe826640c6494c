"""Grades many submissions at the same time: on this machine by default, on a Dask cluster when one is named.

A task is a text and so is its outcome (see ``job``), each graded in a process of its own; who hands them out only
decides where and when. Here that is a pool of threads that wait for these processes: nothing listens on a network, and
nothing is left on the disk, as it would be with a cluster for one machine.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import psutil

from autograder.classroom.job import Task, run_task, stop_tasks
from autograder.classroom.outcome import Outcome
from autograder.errors import MachineError

WAIT = 10  # seconds for a scheduler to answer
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
    if scheduler:
        yield from _on_cluster(tasks, scheduler)
        return
    with ThreadPoolExecutor(jobs, thread_name_prefix="grade") as pool:
        futures = {pool.submit(run_task, task.model_dump_json()): task for task in tasks}
        try:
            for future in as_completed(futures):
                yield futures[future], _outcome(future.exception(), future)
        finally:  # also when nobody wants the rest: what runs ends, and what waits is never begun
            pool.shutdown(wait=False, cancel_futures=True)
            stop_tasks()


def _on_cluster(tasks: list[Task], address: str) -> Iterator[tuple[Task, Outcome | Exception]]:
    """The same on the workers of a Dask scheduler. Raises MachineError."""
    import distributed

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # how each task ended is told by us
    connect: Any = distributed.Client
    completed: Any = distributed.as_completed
    try:
        client = connect(address, timeout=WAIT)
    except (OSError, TimeoutError, ValueError) as error:
        raise MachineError(
            f"No Dask scheduler answers at {address}.",
            "The address that `dask scheduler` prints, as in tcp://10.0.0.1:8786.",
            "Start one with `.venv/bin/dask scheduler`, and workers with `.venv/bin/dask worker ADDRESS`.",
        ) from error
    with client:
        # Not pure: the same task after a failure is to be run again.
        futures = {client.submit(run_task, task.model_dump_json(), pure=False): task for task in tasks}
        for future in completed(list(futures)):
            yield futures[future], _outcome(future.exception(), future)


def _outcome(error: BaseException | None, future: Any) -> Outcome | Exception:
    if error is not None:
        return error if isinstance(error, Exception) else RuntimeError(str(error))
    try:
        return Outcome.model_validate_json(future.result())
    except ValueError as wrong:
        return wrong
