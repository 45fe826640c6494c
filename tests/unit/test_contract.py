"""Requests from an OpenAPI document: what is found, and that no document and no answer does harm."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from autograder.checking import contract
from autograder.checking.contract import Known, explore

Reply = Callable[[BaseHTTPRequestHandler], None]
NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


def document(body: Any = NUMBER, answer: Any = NUMBER, **components: Any) -> dict[str, Any]:
    def content(schema: Any) -> dict[str, Any]:
        return {"application/json": {"schema": schema}}

    responses = {status: {"description": "", "content": content(answer)} for status in ("200", "422")}
    operation = {"requestBody": {"required": True, "content": content(body)}, "responses": responses}
    return {
        "openapi": "3.1.0",
        "info": {"title": "t", "version": "1"},
        "paths": {"/n": {"post": operation}},
        "components": {"schemas": components},
    }


@contextmanager
def serving(reply: Reply) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            reply(self)

        def log_message(self, *_: object) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None: ...

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def answers(status: int = 200, body: bytes = b'{"n": 1}', **headers: str) -> Reply:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content_Type": "application/json", **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return reply


def found(reply: Reply, told: dict[str, Any] | bytes | None = None, known: tuple[Known, ...] = ()) -> contract.Explored:
    raw = told if isinstance(told, bytes) else json.dumps(told or document()).encode()
    with serving(reply) as url:
        return explore(raw, url, {"X-API-Key": "k"}, 7, known)


def test_answers_that_keep_to_the_document_are_no_problem() -> None:
    explored = found(answers())
    assert explored.problem == ""
    assert explored.summary.startswith("POST /n: ")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (answers(500), "Server error"),
        (answers(418), "Undocumented status code"),
        (answers(body=b'{"n": "one"}'), "violates schema"),
        (answers(Content_Type="text/html"), "ontent-"),
        (answers(307, b"", Location="http://127.0.0.1:9/elsewhere"), "Undocumented status code"),
        (answers(Set_Cookie="a=" + "b" * 3000), ""),
    ],
    ids=["5xx", "status", "schema", "content-type", "redirect", "cookie"],
)
def test_what_contradicts_the_document_is_a_problem(reply: Reply, said: str) -> None:
    explored = found(reply)
    assert said in explored.problem
    assert bool(explored.curl) == bool(said)


def test_a_known_request_comes_first_and_can_be_repeated() -> None:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        answers(401, b"{}")(handler) if handler.headers["X-API-Key"] != "k" else answers()(handler)

    explored = found(reply, known=(Known("No key", "/n", b'{"n": "\xff\'"}', {"A": "b"}),))
    assert explored.problem.startswith("No key: Undocumented status code")
    assert explored.curl.endswith("""-H 'A: b' --data-binary $'{"n": "\\xff'"'"'"}'""")


RECURSIVE = document(
    {"$ref": "#/components/schemas/A"},
    A={"type": "object", "properties": {"a": {"$ref": "#/components/schemas/A"}}, "required": ["a"]},
)
NESTED = b'{"openapi": ' + b"[" * 100_000
DOCUMENTS: dict[str, dict[str, Any] | bytes] = {
    "no JSON": b"<html>",
    "not a document": b"[1, 2]",
    "no paths": b'{"openapi": "3.1.0", "info": {"title": "t", "version": "1"}}',
    "paths are a string": b'{"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": "x"}',
    "nested": NESTED,
    "huge": b" " * (contract.LARGEST_DOCUMENT + 1),
    "reference without an end": RECURSIVE,
    "reference to itself": document({"$ref": "#/components/schemas/A"}, A={"$ref": "#/components/schemas/A"}),
    "reference to nothing": document({"$ref": "#/components/schemas/B"}),
    "reference to a file": document({"$ref": "file:///etc/passwd"}),
    "reference to a server": document({"$ref": "http://127.0.0.1:9/schema.json"}),
    "impossible": document({"type": "string", "minLength": 1 << 40}),
    "a pattern that is none": document({"type": "string", "pattern": "(((["}),
}


@pytest.mark.parametrize("told", DOCUMENTS.values(), ids=DOCUMENTS)
def test_no_document_is_an_error_of_ours(told: dict[str, Any] | bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "PROCESSOR", 20)
    explored = found(answers(), told)
    assert "root:" not in explored.problem + explored.summary
    assert explored.problem or explored.summary or told == DOCUMENTS["no paths"]


def test_a_document_that_takes_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "PROCESSOR", 6)
    explored = found(answers(body=json.dumps({"n": "a" * 40}).encode()), document(answer={
        "type": "object", "properties": {"n": {"type": "string", "pattern": "^(a+)+(?=b)$"}}
    }))  # fmt: skip
    assert explored.problem


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while True:
        handler.wfile.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")


def drips(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(1000):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.1)


def many_headers(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * (4 << 20) + b"\r\n\r\n")


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


@pytest.mark.parametrize("reply", [endless, drips, many_headers, hangs_up])
def test_an_answer_without_an_end_is_a_problem(reply: Reply) -> None:
    assert "answer" in found(reply).problem
