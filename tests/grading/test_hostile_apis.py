"""Apps that want a grade which they did not earn, or the machine: right verdicts, in time, nothing leaked."""

from __future__ import annotations

from pathlib import Path

import pytest

from autograder.lab import Lab, load_lab
from autograder.report import Verdict

from .conftest import Edit, Graded, Once, writes
from .test_hostile import PRINTS, hostile

# A server by hand; `REPLY` says what it does with a request that is not for /health/live.
BY_HAND = """
import os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def reply(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path != "/health/live":
            REPLY
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Set-Cookie", "a=" + "b" * 2000)
        self.end_headers()
        self.wfile.write(b"{}")
    do_GET = do_POST = reply
    def log_message(self, *_): pass

ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
"""
REPLIES = {
    "fine": "pass",
    "drips": "\n            ".join(
        ['self.wfile.write(b"HTTP/1.1 200 OK\\r\\n")', 'while True: self.wfile.write(b"X: y\\r\\n"); time.sleep(0.5)']
    ),
    "headers": 'self.wfile.write(b"HTTP/1.1 200 OK\\r\\nX: " + b"x" * (8 << 20)); return',
    "endless": "\n            ".join(
        ["self.send_response(200); self.end_headers()", 'while True: self.wfile.write(b" " * 65536)']
    ),
    "dies": "os._exit(0)",
    "redirects": "\n            ".join(
        ["self.send_response(307)", 'self.send_header("Location", "http://example.org/")', "self.end_headers(); return"]
    ),
}
DEAF = """
import os, socket, time
server = socket.create_server(("0.0.0.0", int(os.environ["PORT"])), backlog=0)
while True: time.sleep(1)
"""
FORKS = """
import os, threading, time
def fork():
    while True:
        try:
            if os.fork() == 0:
                while True: time.sleep(1)
        except OSError:
            time.sleep(0.01)
threading.Thread(target=fork, daemon=True).start()
"""
SHOUTS = f"import threading\ndef shout():\n    {PRINTS}threading.Thread(target=shout, daemon=True).start()\n"
HANGS = "import time\nwhile True: time.sleep(1)\n"

# What a server that answers 200 and {} to everything does right.
FREE = {"live-and-ready", "not-root", "health-check", "constant-time"}


@pytest.fixture(scope="module")
def apis() -> Lab:
    return load_lab("lab-02")


def replaces(name: str, old: str, new: str) -> Edit:
    """An edit that replaces what stands once in a file."""

    def edit(folder: Path) -> None:
        text = (folder / name).read_text("utf-8")
        assert text.count(old) == 1, (name, old)
        (folder / name).write_text(text.replace(old, new), "utf-8")

    return edit


def in_the_place_of_the_app(lab: Lab, once: Once, name: str, program: str) -> Graded:
    return hostile(lab, once, f"api-{name}", writes("app/__main__.py", program))


@pytest.mark.parametrize("name", REPLIES)
def test_a_server_that_is_no_app_fails(name: str, apis: Lab, once: Once) -> None:
    found = in_the_place_of_the_app(apis, once, name, BY_HAND.replace("REPLY", REPLIES[name]))
    assert found.ungraded == set()
    assert found.passed <= FREE
    first = "predict" if name == "fine" else "live-and-ready"
    assert found.verdicts[first] is Verdict.FAILED


def test_a_server_that_takes_no_connection_fails(apis: Lab, once: Once) -> None:
    found = in_the_place_of_the_app(apis, once, "deaf", DEAF)
    assert found.ungraded == set()
    assert found.failed == {"live-and-ready"}


def test_an_app_that_prints_without_end_is_ended(apis: Lab, once: Once) -> None:
    found = hostile(
        apis, once, "api-shouts", replaces("app/__main__.py", "import uvicorn\n", f"import uvicorn\n{SHOUTS}")
    )
    assert found.ungraded == set()
    assert "printed more than" in found.saw("live-and-ready")


def test_an_app_that_forks_and_a_client_that_hangs_fail_alone(apis: Lab, once: Once) -> None:
    forks = replaces("app/__main__.py", "import uvicorn\n", f"import uvicorn\n{FORKS}")
    found = hostile(apis, once, "api-forks", forks, writes("client.py", HANGS))
    assert found.ungraded == set()
    assert not found.passed & {"client", "client-retries"}


HUGE = (
    '    app.openapi = lambda: {"openapi": "3.1.0", "info": {}, "paths": {}, "x": "y" * (18 << 20)}\n\n    return app\n'
)


def test_a_document_without_measure_is_the_apps_fault(apis: Lab, once: Once) -> None:
    found = hostile(apis, once, "api-huge", replaces("app/main.py", "    return app\n", HUGE))
    assert found.ungraded == set()
    assert found.failed == {"documented"}
