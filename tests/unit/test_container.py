"""A service's container that was made before it was asked for."""

from __future__ import annotations

import threading
from concurrent.futures import Executor, Future
from typing import Any, cast

from autograder.pods import SERVICE, Program
from autograder.pods.docker.container import Container, Home
from autograder.pods.docker.pod import described
from autograder.pods.docker.talk import Signal, Tell


class Made:
    """A container that waits until it is killed."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.attrs = {"State": {"OOMKilled": False}}

    def kill(self) -> None:
        self.ended.set()

    def wait(self, timeout: None) -> dict[str, int]:
        assert self.ended.wait(10)
        return {"StatusCode": 137}

    def reload(self) -> None: ...
    def remove(self, **how: bool) -> None: ...


class Slow(Executor):
    """Makes containers when the test says so."""

    def __init__(self) -> None:
        self.future: Future[Any] = Future()

    def submit(self, *_: Any, **__: Any) -> Future[Any]:
        return self.future


def test_one_that_is_killed_before_it_is_made_ends_all_the_same() -> None:
    heard: list[Tell] = []

    class Listening:
        def tell(self, told: Tell) -> None:
            heard.append(told)

    start, tasks = described(Program(("bash", "serve.sh"), limits=SERVICE, service="tfserving"), 0), Slow()
    container = Container(cast(Home, Listening()), start)
    container.hold(tasks, threading.Event())
    attending = threading.Thread(target=container.attend, daemon=True)
    attending.start()
    container.signal(Signal(id=0, name="SIGKILL"))
    tasks.future.set_result((Made(), None))
    attending.join(20)
    assert [told.exit_code for told in heard] == [137]
