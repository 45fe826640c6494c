"""A student's API as the grader asks it: what it may take altogether, and what is said when it took that."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from autograder.checking.anything import GiveUp, for_any_images
from autograder.checks.lab_02_apis.visible import looks
from autograder.errors import CheckFailed
from autograder.services import api
from autograder.services.api import Api
from autograder.services.patience import Patience
from autograder.waiting import polling

PATIENCE, THEN = 0.5, 0.1  # seconds
LOG = "\n".join([*(f"line {number} of a traceback" for number in range(60)), "NotImplementedError: to be written"])


class Dawdler(BaseHTTPRequestHandler):
    """Answers /quick at once, and everything else when nobody waits any more."""

    def do_GET(self) -> None:
        if self.path != "/quick":
            self.server.over.wait(60)  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def dawdler() -> Iterator[Api]:
    """An API that takes its time, and a grader with little patience."""
    nobody: Any = None
    with ThreadingHTTPServer(("127.0.0.1", 0), Dawdler) as server:
        server.over = over = threading.Event()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield Api(nobody, server.server_port, "key", "the app", Patience(PATIENCE, THEN))
        over.set()
        server.shutdown()


class Running:
    """A process that is alive, and has printed something."""

    alive = True

    def log(self) -> str:
        return LOG


@contextmanager
def saying(*statuses: int) -> Iterator[tuple[Api, list[int]]]:
    """An API that gives one status after the other, and the last one from then on; and what it has given so far."""
    given: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given.append(statuses[min(len(given), len(statuses) - 1)])
            self.send_response(given[-1])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    running: Any = Running()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield Api(running, server.server_port, "key", "the app"), given
        server.shutdown()


def test_an_app_whose_liveness_fails_again_and_again_is_soon_given_up() -> None:
    with saying(500) as (app, given), pytest.raises(CheckFailed) as caught:
        app.wait_alive()
    assert caught.value.saw.startswith("GET /health/live gave 500; its log ends:\nline 55 of a traceback\n")
    assert caught.value.saw.endswith("NotImplementedError: to be written")
    assert "this route of it fails" in caught.value.hint
    assert api.STEADY <= len(given) < 60  # each may be a page of the app's log


def test_the_pause_between_two_looks_grows_as_far_as_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    polling(lambda: len(pauses) > 40 or None, seconds=60, saw="", pause=0.02, longest=0.25)
    assert pauses[0] == 0.02
    assert pauses == sorted(pauses)
    assert pauses[-1] == 0.25
    pauses.clear()
    polling(lambda: len(pauses) > 40 or None, seconds=60, saw="", pause=0.02)
    assert set(pauses) == {0.02}


@pytest.mark.parametrize("status", [503, 502, 404])
def test_what_may_mean_not_yet_is_waited_for(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "STEADY_SECONDS", 0.0)
    with saying(*[status] * 2 * api.STEADY, 200) as (app, given):
        app.wait_alive()
    assert given[-1] == 200


def test_a_few_failures_at_the_start_are_forgiven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "STEADY_SECONDS", 0.0)
    some = [500] * (api.STEADY - 1)
    with saying(*some, 503, *some, 200) as (app, given):
        app.wait_alive()
    assert given[-1] == 200


def test_an_app_that_never_comes_says_what_it_gave_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "START_SECONDS", 0.3)
    with saying(503) as (app, _), pytest.raises(CheckFailed, match="/health/live gave: 503") as caught:
        app.wait_alive()
    assert caught.value.hint == api.STARTING


def test_an_app_that_dawdles_is_waited_for_until_its_time_is_used_up(dawdler: Api) -> None:
    for seconds in (PATIENCE, THEN):
        with pytest.raises(CheckFailed) as caught:
            dawdler.ask("/slow")
        assert caught.value.saw == (
            f"GET /slow gave no answer: it did not end within {seconds} seconds. "
            "The app has kept the grader waiting for 0.5 seconds in all."
        )


def test_who_asks_for_many_asks_no_more_when_the_time_is_used_up(dawdler: Api) -> None:
    asked = []

    def ask(number: int) -> object:
        asked.append(number)
        return dawdler.ask("/slow")

    with ThreadPoolExecutor(2) as executor, pytest.raises(CheckFailed):
        list(executor.map(ask, range(100)))
    assert len(asked) < 10


def test_what_is_quick_goes_on_as_before(dawdler: Api) -> None:
    dawdler.patience = Patience(0, then=60)  # used up, on a machine that may be slow
    assert dawdler.ask("/quick").status == 200


def test_an_app_that_is_late_by_a_checks_own_measure_hears_nothing_of_patience(dawdler: Api) -> None:
    assert str(dawdler.ask("/slow", seconds=0.05)) == "no answer: it did not end within 0.05 seconds"


def test_a_refused_connection_is_not_called_late(dawdler: Api) -> None:
    dawdler.patience = Patience(0, then=60)
    dawdler.port = 1
    assert "no connection" in dawdler.ask("/slow").problem


def test_who_waits_for_several_answers_at_a_time_waits_once() -> None:
    patience = Patience(10)
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(patience.waiting(60))
        time.sleep(0.2)
    with patience.waiting(60) as allowed:
        assert 8 < allowed < 10


def test_the_search_for_simple_images_ends_with_the_first_that_gets_no_answer() -> None:
    tried = []

    def attempt(images: list[list[float]]) -> None:
        tried.append(images)
        raise GiveUp(CheckFailed("no answer"))

    with pytest.raises(CheckFailed, match="no answer"):
        for_any_images(attempt, 1)
    assert len(tried) == 1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, " (all its pixels are 0)"),
        ({63: 0.5}, " (all its pixels are 0, but pixel 63 is 0.5)"),
        ({1: 3, 2: 4}, " (all its pixels are 0, but pixel 1 is 3 and pixel 2 is 4)"),
        ({1: 3, 2: 4, 3: 5}, ""),
    ],
)
def test_a_simple_image_is_told_in_words(changed: dict[int, float], words: str) -> None:
    image = np.zeros(64, dtype=np.float32)
    for pixel, value in changed.items():
        image[pixel] = value
    assert looks(image) == words
