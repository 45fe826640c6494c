"""Runs checks side by side: each as soon as what it needs has its verdict, and the services that it uses are free.

A fixture may give a ``Later``: something that is on its way. A check that asks for it gets the thing itself; the
waiting is done in the check's own thread, and what goes wrong while waiting is the check's own end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Later(Generic[T]):
    """A value that is made when it is first asked for, once, whoever asks; an exception is remembered too."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made = False
        self._value: T | None = None
        self._error: BaseException | None = None

    def get(self) -> T:
        """The value. Raises what making it raised."""
        with self._lock:
            if not self._made:
                try:
                    self._value = self._make()
                except Exception as error:
                    self._error = error
                self._made = True
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]


def arrived(arguments: dict[str, Any]) -> dict[str, Any]:
    """A check's arguments, with every ``Later`` replaced by what it stands for. Raises what making it raised."""
    return {name: value.get() if isinstance(value, Later) else value for name, value in arguments.items()}


@dataclass(frozen=True)
class Task:
    """One check to run.

    Attributes:
        name: what others need it by.
        needs: the names that must be done before it, however they end.
        uses: what it must have for itself while it runs; tasks that share one run one after another, in order.
        run: does it; raises nothing.
    """

    name: str
    needs: frozenset[str]
    uses: frozenset[str]
    run: Callable[[], None]


def followers_of(tasks: Iterable[Task]) -> dict[str, int]:
    """For each task how many others wait for it, directly or through others."""
    needs = {task.name: task.needs for task in tasks}
    found: dict[str, set[str]] = {name: set() for name in needs}
    for name in needs:
        pending = set(needs[name])
        while pending:
            needed = pending.pop()
            if needed in found and name not in found[needed]:
                found[needed].add(name)
                pending |= needs[needed]
    return {name: len(followers) for name, followers in found.items()}


def in_order(tasks: Iterable[Task]) -> list[Task]:
    """The tasks in their order, but each after those that it needs: it would keep what they share from them."""
    waiting = list(tasks)
    names = {task.name for task in waiting}
    found: list[Task] = []
    while waiting:
        ready = (task for task in waiting if task.needs & names <= {other.name for other in found})
        found.append(next(ready, waiting[0]))  # those that wait for each other are for run_all to name
        waiting.remove(found[-1])
    return found


def run_all(tasks: Iterable[Task], *, side_by_side: int) -> None:
    """Runs every task. Raises ValueError when they wait for each other.

    Args:
        tasks: in the order in which they should start.
        side_by_side: how many may run at a time, beside those that use something: of these there are few at a time.
    """
    waiting = list(tasks)
    names = {task.name for task in waiting}
    done: set[str] = set()
    busy: set[str] = set()
    running, free = 0, side_by_side
    changed = threading.Condition()

    def attempt(task: Task) -> None:
        nonlocal running, free
        try:
            task.run()
        finally:
            with changed:
                running -= 1
                free += not task.uses
                done.add(task.name)
                busy.difference_update(task.uses)
                changed.notify()

    threads = []
    with changed:
        while waiting:
            task = _next(waiting, names, done, busy, free > 0)
            if task is None:
                if not running:
                    raise ValueError(f"they wait for each other: {', '.join(task.name for task in waiting)}")
                changed.wait()
                continue
            waiting.remove(task)
            busy.update(task.uses)
            running += 1
            free -= not task.uses
            threads.append(threading.Thread(target=attempt, args=(task,), name=task.name))
            threads[-1].start()
    for thread in threads:
        thread.join()


def _next(waiting: list[Task], names: set[str], done: set[str], busy: set[str], room: bool) -> Task | None:
    """The first task that could start now. One that is passed over keeps its place before those that share its use.

    Without ``room`` only one that uses something can.
    """
    claimed = set(busy)
    for task in waiting:
        if (room or task.uses) and not task.uses & claimed and task.needs & names <= done:
            return task
        claimed |= task.uses
    return None
