"""Checks side by side: in the order that they need each other, and never two where there is room for one."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from autograder.schedule import Later, Task, arrived, followers_of, in_order, run_all


def task(name: str, run: Callable[[], None], needs: str = "", uses: str = "") -> Task:
    return Task(name, frozenset(needs.split()), frozenset(uses.split()), run)


def test_a_task_runs_after_what_it_needs() -> None:
    order: list[str] = []
    tasks = [
        task("c", lambda: order.append("c"), needs="b"),
        task("b", lambda: order.append("b"), needs="a"),
        task("a", lambda: order.append("a")),
    ]
    run_all(tasks, side_by_side=3)
    assert order == ["a", "b", "c"]


def test_independent_tasks_run_at_the_same_time() -> None:
    both = threading.Barrier(2)
    run_all([task("a", lambda: both.wait(10) and None), task("b", lambda: both.wait(10) and None)], side_by_side=2)
    assert not both.broken


def test_no_more_run_at_a_time_than_was_allowed() -> None:
    lock, running, most = threading.Lock(), 0, 0
    step = threading.Event()

    def run() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        step.wait(0.01)
        with lock:
            running -= 1

    run_all([task(str(number), run) for number in range(12)], side_by_side=3)
    assert most == 3


def test_tasks_that_share_a_use_run_one_after_another_in_order() -> None:
    order: list[str] = []
    alone = threading.Lock()

    def run(name: str) -> Callable[[], None]:
        def body() -> None:
            assert alone.acquire(blocking=False)
            order.append(name)
            alone.release()

        return body

    run_all([task(name, run(name), uses="server") for name in "abcdef"], side_by_side=3)
    assert order == list("abcdef")


def test_one_that_waits_keeps_its_place_before_those_that_share_its_use() -> None:
    order: list[str] = []
    tasks = [
        task("first", lambda: order.append("first")),
        task("waits", lambda: order.append("waits"), needs="first", uses="server"),
        task("shares", lambda: order.append("shares"), uses="server"),
    ]
    run_all(tasks, side_by_side=3)
    assert order == ["first", "waits", "shares"]


def test_nobody_comes_before_what_it_needs() -> None:
    tasks = [task("c", lambda: None, needs="b"), task("d", lambda: None), task("b", lambda: None, needs="a hidden")]
    tasks.append(task("a", lambda: None))
    assert [each.name for each in in_order(tasks)] == ["d", "a", "b", "c"]
    both = [task("e", lambda: None, needs="f"), task("f", lambda: None, needs="e")]
    assert len(in_order(both)) == 2


def test_followers_are_all_that_wait_directly_or_through_others() -> None:
    tasks = [task(name, lambda: None, needs) for name, needs in (("a", "z"), ("b", "a"), ("c", "a b"), ("d", ""))]
    assert followers_of(tasks) == {"a": 2, "b": 1, "c": 0, "d": 0}
    assert followers_of([task("a", lambda: None, "b"), task("b", lambda: None, "a")]) == {"a": 2, "b": 2}


def test_one_that_waits_for_one_of_its_uses_keeps_its_place_for_the_other() -> None:
    order: list[str] = []
    asked = threading.Event()
    tasks = [
        task("busy", lambda: asked.wait(10) and order.append("busy"), uses="a"),  # type: ignore[func-returns-value]
        task("both", lambda: order.append("both"), uses="a b"),
        task("last", lambda: order.append("last"), uses="b"),
        task("free", asked.set),
    ]
    run_all(tasks, side_by_side=3)
    assert order == ["busy", "both", "last"]


def test_what_is_not_there_is_not_waited_for() -> None:
    done: list[str] = []
    run_all([task("visible", lambda: done.append("visible"), needs="hidden")], side_by_side=1)
    assert done == ["visible"]


def test_tasks_that_wait_for_each_other_are_an_error() -> None:
    tasks = [task("a", lambda: None, needs="b"), task("b", lambda: None, needs="a")]
    with pytest.raises(ValueError, match="wait for each other: a, b"):
        run_all(tasks, side_by_side=2)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_task_that_breaks_holds_nobody_up() -> None:
    done: list[str] = []

    def breaks() -> None:
        raise RuntimeError

    run_all([task("a", breaks), task("b", lambda: done.append("b"), needs="a")], side_by_side=1)
    assert done == ["b"]


def test_a_later_value_is_made_once_whoever_asks() -> None:
    made: list[int] = []

    def make() -> int:
        made.append(1)
        return len(made)

    later = Later(make)
    threads = [threading.Thread(target=later.get) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert later.get() == 1
    assert made == [1]


def test_what_went_wrong_in_the_making_goes_wrong_for_everybody() -> None:
    tries: list[int] = []

    def make() -> int:
        tries.append(1)
        raise RuntimeError("once")

    later = Later(make)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="once"):
            later.get()
    assert tries == [1]


def test_arguments_arrive_when_they_are_asked_for() -> None:
    assert arrived({"a": 1, "b": Later(lambda: 2)}) == {"a": 1, "b": 2}
