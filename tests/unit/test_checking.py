"""What checks are made of: the decorator, evidence, waiting, the load generator, stubs, and answers with a deadline."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from autograder.checking import Check, EvidenceBox, check, check_of, clean, fail, stubs, thin
from autograder.checking.folders import Watch, written_after
from autograder.checking.load import Load
from autograder.errors import CheckFailed
from autograder.report.model import LoadPoint
from autograder.services import http
from autograder.services.http import ask
from autograder.waiting import polling


@check("first", skill=1, points=3, hint="Try.")
def first() -> None:
    """It works.

    More for authors.
    """


@check("other", skill=1, points=1, hint="Try.")
def other() -> None:
    """It also works."""


@check("second", skill=2, points=4, hint="Try.", needs=[first], after=[other], visible=True)
def second() -> None:
    """It works
    too."""


class TestDecorator:
    def test_a_checks_title_is_the_first_paragraph_of_its_docstring(self) -> None:
        assert check_of(first).title == "It works."
        assert check_of(second).title == "It works too."

    def test_a_check_knows_by_name_what_it_needs_and_what_it_comes_after(self) -> None:
        assert check_of(second) == Check("second", 2, 4, "It works too.", "Try.", ("first",), ("other",), True, False)

    def test_a_check_without_a_docstring_is_refused(self) -> None:
        with pytest.raises(TypeError, match="no docstring"):
            check("third", skill=1, points=1, hint="")(lambda: None)

    def test_a_check_can_only_need_checks(self) -> None:
        with pytest.raises(TypeError, match="is not a check"):
            check("third", skill=1, points=1, hint="", needs=[print])(second)


class TestEvidence:
    def test_of_a_long_text_the_end_is_kept(self) -> None:
        assert clean("x" * 50_000 + "end").endswith("xend")
        assert len(clean("x" * 50_000)) < 13_000

    def test_text_that_no_report_could_hold_is_replaced(self) -> None:
        assert clean("a\x00b\ud800c") == "a�b?c"
        box = EvidenceBox()
        box.text("Title", "\ud800")
        json.loads(box.items[0].model_dump_json())

    def test_a_title_that_quotes_a_long_command_is_cut(self) -> None:
        box = EvidenceBox()
        box.text("curl \ud800" + "x" * 1000, "text")
        box.log("x" * 200, "text")
        assert box.items[0].title == "curl ?" + "x" * 193 + "…"
        assert box.items[1].title == "x" * 200

    def test_failures_and_changes_survive_the_thinning_of_a_load(self) -> None:
        points = [LoadPoint(at=n, seconds=0.1, answer="1" if n < 700 else "2", failed=n == 333) for n in range(1000)]
        kept = thin(points, 100)
        assert len(kept) <= 100
        assert any(point.failed for point in kept) or len([p for p in points if p.failed]) == 0
        assert {point.answer for point in kept} == {"1", "2"}


class TestWaiting:
    def test_what_comes_is_given(self) -> None:
        found = iter([None, None, "it"])
        assert polling(lambda: next(found), seconds=10, saw="nothing", pause=0) == "it"

    def test_what_never_comes_fails_the_check_with_what_was_seen(self) -> None:
        with pytest.raises(CheckFailed) as caught:
            polling(lambda: None, seconds=0.01, saw=lambda: "seen", expected="it", hint="do", pause=0.001)
        assert (caught.value.saw, caught.value.expected, caught.value.hint) == ("seen", "it", "do")

    def test_nobody_waits_for_what_can_not_come_any_more(self) -> None:
        with pytest.raises(CheckFailed):
            polling(lambda: None, seconds=1000, saw="", give_up=lambda: True)

    def test_one_last_look_is_taken_before_giving_up(self) -> None:
        assert polling(lambda: 1, seconds=1000, saw="", give_up=lambda: True) == 1

    def test_failing_is_a_finding_about_the_work(self) -> None:
        with pytest.raises(CheckFailed):
            fail("seen")


class TestAnswers:
    def test_an_answer_has_its_status_and_its_json(self) -> None:
        with stubs.answering(404, b'{"error": "no"}') as stub:
            answer = ask(stub.url + "/v1/models/x", {"instances": []})
        assert (answer.status, answer.json) == (404, {"error": "no"})
        assert [(seen.method, seen.path, seen.json) for seen in stub.requests] == [
            ("POST", "/v1/models/x", {"instances": []})
        ]

    @pytest.mark.parametrize(
        ("beginning", "drip"),
        [
            (b"", b""),
            (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{", b" "),
            (b"HTTP/1.1 200 OK\r\n\r\n{", b" "),
            (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        ],
    )
    def test_the_deadline_is_for_the_whole_answer(self, beginning: bytes, drip: bytes) -> None:
        with stubs.stalling(beginning, drip) as url:
            answer = ask(url, seconds=0.7)
        assert (answer.status, answer.problem) == (0, "it did not end within 0.7 seconds")

    def test_nobody_there_is_no_answer(self) -> None:
        with stubs.refusing() as url:
            answer = ask(url)
        assert answer.status == 0
        assert "Connection refused" in answer.problem

    def test_a_huge_answer_is_cut_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http, "LARGEST", 1000)
        with stubs.answering(200, b"x" * 2000) as stub:
            assert ask(stub.url).status == 0

    def test_what_is_no_http_is_no_answer(self) -> None:
        with stubs.stalling(b"\x00\xff garbage\r\n\r\n") as url:
            assert "broken" in ask(url, seconds=5).problem

    def test_json_that_is_nested_without_end_is_no_json(self) -> None:
        with stubs.answering(200, b"[" * 500_000) as stub:
            assert ask(stub.url).json is None

    def test_a_proxy_in_the_environment_is_not_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with stubs.refusing() as nobody, stubs.answering(200, b"{}") as stub:
            monkeypatch.setenv("http_proxy", nobody)
            assert ask(stub.url).status == 200


def known(status: int, body: bytes) -> tuple[str, bool]:
    return body.decode(), status != 200


class TestLoad:
    def test_every_request_is_counted_with_its_answer(self) -> None:
        with stubs.answering(200, b"7") as stub:
            with Load(stub.url, b"{}", known) as load:
                load.wait_for("7", times=20)
            assert load.failures == []
            assert set(load.answers()) == {"7"}
            assert len(load.points) <= len(stub.requests)

    def test_a_failure_is_a_failure_and_no_answer(self) -> None:
        with stubs.answering(503, b"busy") as stub, Load(stub.url, b"{}", known) as load:
            load.wait_for("busy")
        assert load.failures
        assert load.answers() == []

    def test_nobody_there_is_a_failure_in_plain_words(self) -> None:
        with stubs.refusing() as url, Load(url, b"{}", known) as load:
            deadline = time.monotonic() + 10
            while not load.points and time.monotonic() < deadline:
                time.sleep(0.01)
        assert load.points[0].answer == "no connection: Connection refused"

    def test_an_answer_that_never_comes_fails_the_check(self) -> None:
        with (
            stubs.answering(200, b"old") as stub,
            Load(stub.url, b"{}", known) as load,
            pytest.raises(CheckFailed, match="“new” had answered 0 times"),
        ):
            load.wait_for("new", seconds=0.2)

    def test_an_answer_in_pieces_is_read_whole(self) -> None:
        with pieces([b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", b"ab", b"cd"]) as url:
            with Load(url, b"{}", known, connections=1) as load:
                load.wait_for("abcd", seconds=10)
            assert {point.answer for point in load.points if not point.failed} == {"abcd"}


class pieces:
    """A server that sends each answer in several packets, one after the other."""

    def __init__(self, parts: list[bytes]) -> None:
        self._parts = parts
        self._server = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> str:
        threading.Thread(target=self._serve, daemon=True).start()
        return f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while connection.recv(65536):
                    for part in self._parts:
                        connection.sendall(part)
                        threading.Event().wait(0.02)  # the space between two packets is what is tried
            except OSError:
                return


class TestFolders:
    def test_a_folder_that_is_made_in_place_is_seen_empty(self, tmp_path: Path) -> None:
        with Watch(tmp_path) as watch:
            (tmp_path / "1").mkdir()
            (tmp_path / ".2").mkdir()
            (tmp_path / ".2").rename(tmp_path / "2")
            seen = {item.name: item.made_empty for item in watch.seen()}
        assert seen == {"1": True, ".2": True, "2": False}

    def test_what_is_written_after_the_moment_is_found(self, tmp_path: Path) -> None:
        (tmp_path / "deep").mkdir()
        (tmp_path / "deep/early").write_text("x")
        moment = (tmp_path / "deep/early").stat().st_ctime_ns
        descriptor = os.open(tmp_path, os.O_RDONLY)
        assert written_after(moment, descriptor) == ""
        deadline = time.monotonic() + 10
        while written_after(moment, descriptor) == "" and time.monotonic() < deadline:
            (tmp_path / "deep/late").write_text("x")
        assert written_after(moment, descriptor) == "deep/late"
        os.close(descriptor)
