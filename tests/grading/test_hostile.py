"""Submissions that want a grade which they did not earn, or the machine: right verdicts, in time, nothing leaked."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest

from autograder.lab import ROOT, Lab
from autograder.report import Report, Verdict

from .conftest import Edit, Graded, Once, edited, graded, prepends, writes

SECRET = "a-secret-of-the-grader"
LEAK = "root:x:0"  # what /etc/passwd begins with

CLIENT_CHECKS = {
    *("describe", "client-predict", "error-400", "error-404", "error-refused", "error-stalled", "error-malformed"),
}
EXPORT_CHECKS = {"export", "signature", "raw-pixels", "reads-digits", "warm-up"}
SERVER_CHECKS = {
    *("serves", "own-answer", "grpc", "two-models", "hot-swap", "reads-config-again"),
    *("corrupt-version", "batching", "replays-warm-up"),
}
LABEL_CHECKS = {"labels", "label-guard"}  # about publish.py, on a server of the course's


def hostile(lab: Lab, once: Once, name: str, *edits: Edit) -> Graded:
    """The verdicts on the reference with some edits, graded from its own folder; the grader has something to lose."""

    def fill(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GRADER_SECRET", SECRET)
            submission = edited(folder / "hostile", *edits, of=lab.id)
            patch.chdir(submission)
            found = graded(lab, submission, sandbox=False)
        (folder / "report.json").write_text(found.report.model_dump_json())

    text = (once(name, fill) / "report.json").read_text()
    assert SECRET not in text
    assert LEAK not in text
    return Graded(Report.model_validate_json(text))


EXITS = "import os\nprint('{\"predictions\": []}', flush=True)\nos._exit(0)\n"


@pytest.fixture(scope="module")
def exits(lab: Lab, once: Once) -> Graded:
    """``os._exit(0)`` before anything else, in every program."""
    edits = [prepends(name, EXITS) for name in ("client.py", "train.py", "publish.py")]
    return hostile(lab, once, "exits", *edits)


def test_a_program_that_ends_well_and_does_nothing_passes_nothing(exits: Graded) -> None:
    assert exits.failed >= CLIENT_CHECKS | {"export", "publish", "reads-config-again", "labels"}
    assert not exits.passed & (CLIENT_CHECKS | EXPORT_CHECKS)


def test_what_is_right_is_passed_all_the_same(exits: Graded) -> None:
    assert exits.passed >= {"serves", "own-answer", "grpc", "two-models", "hot-swap", "batching", "replays-warm-up"}
    assert exits.ungraded == set()


GRADED_ITSELF = '{"score": 100, "tests": [{"name": "all", "score": 100, "max_score": 100, "status": "passed"}]}'
STOPS_THE_GRADER = "raise SystemExit('a file of the submission was run by the grader')\n"
INTRUDES = """
import os, pathlib
for folder in (".", "..", "/", "/tmp", "/course", os.path.expanduser("~")):
    for name in ("results.json", "report.html", "junit.xml"):
        try: pathlib.Path(folder, name).write_text('{"score": 100}')
        except OSError: pass
"""
HANDS_OVER = """
import importlib, sys
here = sys.path.pop(0)
del sys.modules["numpy"]
sys.modules["numpy"] = importlib.import_module("numpy")
sys.path.insert(0, here)
"""


@pytest.fixture(scope="module")
def strange(lab: Lab, once: Once) -> Graded:
    """The reference beside files that would mean something to Python, pytest or a careless copy."""

    def files(folder: Path) -> None:
        for name, text in {
            "results.json": GRADED_ITSELF,
            "conftest.py": STOPS_THE_GRADER,
            "tests/conftest.py": STOPS_THE_GRADER,
            "pytest.ini": "[pytest]\naddopts = --collect-only\n",
            "sitecustomize.py": INTRUDES,
            "usercustomize.py": INTRUDES,
            "pytest.py": "raise SystemExit(0)\n",
            "autograder.py": "raise SystemExit(0)\n",
            "numpy.py": INTRUDES + HANDS_OVER,
        }.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        (folder / "passwd").symlink_to("/etc/passwd")
        (folder / "course").symlink_to(ROOT)
        (folder / "checks").symlink_to("../../autograder/checks")
        (folder / "same.py").symlink_to("client.py")
        os.mkfifo(folder / "pipe")
        with (folder / "huge.bin").open("wb") as stream:
            stream.truncate(40 << 20)
        Path(os.fsdecode(os.fsencode(folder) + b"/not-utf-8-\xff.txt")).write_text("x")

    return hostile(lab, once, "strange", files)


def test_strange_files_change_nothing(strange: Graded) -> None:
    assert strange.report.score == 100, {name: strange.saw(name) for name in set(strange.verdicts) - strange.passed}


@pytest.mark.parametrize(
    "name", ["“passwd”", "“course”", "“checks”", "“pipe”", "“huge.bin”", "'not-utf-8-\\udcff.txt'"]
)
def test_what_is_left_out_is_named(strange: Graded, name: str) -> None:
    assert any(note.startswith(f"{name} was left out: ") for note in strange.report.notes), strange.report.notes


def test_nothing_else_is_left_out(strange: Graded) -> None:
    assert len(strange.report.notes) == 6


NEVER_ENDS = """
import os, signal, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
for step in range(20):
    if os.fork() == 0:
        os.setsid()
        while True: time.sleep(0.1)
while True: time.sleep(0.1)
"""
FILLS_MEMORY = "kept = []\nwhile True: kept.append(bytearray(b'x') * (64 << 20))\n"
PRINTS = "while True: print('x' * 10_000)\n"


@pytest.fixture(scope="module")
def greedy(lab: Lab, once: Once) -> Graded:
    """Programs that want more than their share: one prints, one forks, one fills memory, all without end."""
    never_ends = f"#!/usr/bin/env bash\nexec python - <<'EOF'\n{NEVER_ENDS}\nEOF\n"
    edits = writes("train.py", PRINTS), writes("publish.py", FILLS_MEMORY), writes("serve.sh", never_ends)
    return hostile(lab, once, "greedy", *edits)


def test_output_without_end_is_named_as_the_reason(greedy: Graded) -> None:
    assert greedy.verdicts["export"] is Verdict.FAILED
    assert "printed more than 8 MiB" in greedy.saw("export")


def test_memory_without_end_is_named_as_the_reason(greedy: Graded) -> None:
    assert greedy.verdicts["publish"] is Verdict.FAILED
    assert "MemoryError" in greedy.saw("publish") or "MiB of memory" in greedy.saw("publish")


def test_a_server_that_never_comes_and_never_ends_is_given_up(greedy: Graded) -> None:
    assert greedy.verdicts["serves"] is Verdict.FAILED
    assert {greedy.verdicts[check] for check in (SERVER_CHECKS | LABEL_CHECKS) - {"serves"}} == {Verdict.BLOCKED}


def test_what_is_modest_is_passed_all_the_same(greedy: Graded) -> None:
    assert greedy.passed == CLIENT_CHECKS
    assert greedy.ungraded == set()


FAKE_SERVER = """
import json, os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
ROOT = os.environ.get("TFSERVING_MODELS_ROOT", "/models")
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self, rows=0):
        model = self.path.split("/")[3].split(":")[0]
        states = [{"version": name, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
                  for name in os.listdir(f"{ROOT}/{model}")]
        answer = [[0.1] * 10] * rows
        text = json.dumps({"predictions": answer, "outputs": answer} if rows else
                          {"model_version_status": states, "model_spec": {"version": "1"}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def do_POST(self):
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.do_GET(len(sent.get("instances") or sent.get("inputs")))
    def log_message(self, *_): pass
ThreadingHTTPServer(("127.0.0.1", 8501), Handler).serve_forever()
"""
LINKS = textwrap.dedent("""
    import sys
    from pathlib import Path
    out = Path(sys.argv[sys.argv.index("--out") + 1])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.symlink_to("/")
""")


@pytest.fixture(scope="module")
def pretends(lab: Lab, once: Once) -> Graded:
    """A server that says the same to everybody, and a model folder that is a link to the whole system."""
    serve = f"#!/usr/bin/env bash\nexec python - <<'EOF'\n{FAKE_SERVER}\nEOF\n"
    return hostile(lab, once, "fake", writes("serve.sh", serve), writes("train.py", LINKS))


def test_a_canned_answer_is_not_the_models_own(pretends: Graded) -> None:
    assert pretends.verdicts["own-answer"] is Verdict.FAILED
    assert not pretends.passed & (SERVER_CHECKS - {"serves"})


def test_a_model_folder_that_is_a_link_is_no_model_folder(pretends: Graded) -> None:
    assert pretends.verdicts["export"] is Verdict.FAILED
    assert not pretends.passed & EXPORT_CHECKS


def test_everything_has_a_verdict(pretends: Graded) -> None:
    assert pretends.ungraded == set()
