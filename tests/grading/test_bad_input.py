"""Bad input, a bad machine, and Ctrl-C: one clear message, the right exit code, nothing lost and nothing left."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import psutil
import pytest

from autograder import cli, grading
from autograder.errors import CourseError
from autograder.lab import ROOT, SOLUTIONS, Lab
from autograder.report import Finding, Report, Result, Verdict

from .conftest import Ended, command, edited, graded, living, run, writes

REFERENCE = SOLUTIONS / "lab-01-serving"
SOMEBODY = 54321


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def one_message(ended: Ended) -> str:
    """What was said: no trace, and nothing but the message. Asserts that there is one."""
    assert "Traceback" not in ended.stderr + ended.stdout
    assert "  File " not in ended.stderr
    lines = [line for line in ended.stderr.splitlines() if line]
    assert 1 <= len(lines) <= 3, ended.stderr
    return lines[0]


def test_no_such_lab(out: Path) -> None:
    ended = run("grade", "lab-99", "--out", out, out=out)
    assert ended.exit_code == 2
    assert one_message(ended) == "There is no lab named “lab-99”."
    assert "lab-01-serving" in ended.stderr


def test_no_such_folder(tmp_path: Path, out: Path) -> None:
    ended = run("grade", "lab-01", tmp_path / "nowhere", "--out", out, out=out)
    assert ended.exit_code == 2
    assert "There is no folder" in one_message(ended)


def test_an_empty_folder(tmp_path: Path, out: Path) -> None:
    (tmp_path / "empty/.git").mkdir(parents=True)
    ended = run("grade", "lab-01", tmp_path / "empty", "--out", out, out=out)
    assert ended.exit_code == 2
    assert "is empty" in one_message(ended)


def test_a_zip_instead_of_a_folder(tmp_path: Path, out: Path) -> None:
    with zipfile.ZipFile(tmp_path / "work.zip", "w") as archive:
        archive.writestr("train.py", "")
    ended = run("grade", "lab-01", tmp_path / "work.zip", "--out", out, out=out)
    assert ended.exit_code == 2
    assert "is a file" in one_message(ended)
    assert "unzip work.zip" in ended.stderr


def test_a_folder_whose_name_is_not_utf_8(tmp_path: Path, out: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    shutil.copytree(REFERENCE, folder)
    ended = run("grade", "lab-01", folder, "--out", out, out=out)
    assert ended.exit_code == 2
    assert "is not UTF-8" in one_message(ended)


@pytest.mark.parametrize("argv", [["--seed", "-1"], ["--seed", "x"], ["--runtime", "cloud"], ["--wrong"]])
def test_a_wrong_option(argv: list[str], out: Path) -> None:
    ended = run("grade", "lab-01", REFERENCE, *argv, "--out", out, out=out)
    assert ended.exit_code == 2
    assert "Traceback" not in ended.stderr


def as_somebody(function: Callable[[], int]) -> tuple[int, str]:
    """What a function gives, and prints, in a process of an ordinary user."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(SOMEBODY)
            os.setuid(SOMEBODY)
        said = io.StringIO()
        with redirect_stderr(said), redirect_stdout(said):
            code = function()
        os.write(write, said.getvalue().encode())
        os._exit(code)
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        text = stream.read().decode()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


@pytest.mark.parametrize("what", ["folder", "file", "names-only"])
def test_a_submission_that_may_not_be_read(what: str, lab: Lab, tmp_path: Path) -> None:
    submission = edited(tmp_path / "work")
    for folder in [tmp_path, *tmp_path.parents]:
        if folder.stat().st_uid == os.getuid() and "pytest" in folder.name:
            folder.chmod(0o755)
    {"folder": submission, "file": submission / "train.py", "names-only": submission}[what].chmod(
        0o444 if what == "names-only" else 0
    )

    def grade_it() -> int:
        try:
            grading.grade(lab, submission)
        except CourseError as error:
            print(error)
            return error.exit_code
        return 0

    code, said = as_somebody(grade_it)
    submission.chmod(0o755)
    assert code == 2, said
    assert "can't be read" in said
    assert "chmod" in said


def test_a_syntax_error_and_a_renamed_file_are_the_works_own(lab: Lab, tmp_path: Path) -> None:
    submission = edited(
        tmp_path / "work",
        writes("client.py", "def main(:\n    pass\n"),
        lambda folder: (folder / "publish.py").rename(folder / "publisher.py"),
        lambda folder: (folder / "batching.config").unlink(),
    )
    found = graded(lab, submission, sandbox=False)
    assert found.ungraded == set()
    assert "SyntaxError" in found.saw("client-predict")
    assert found.saw("publish") == "There is no publish.py in the submission; there is a publisher.py."
    assert "batching.config" in found.saw("serves")
    assert found.passed == {"export", "signature", "raw-pixels", "warm-up"}


def test_a_folder_for_the_report_that_can_not_be_made(out: Path) -> None:
    ended = run("grade", "lab-01", REFERENCE, "--out", "/dev/null/out", out=out)
    assert ended.exit_code == 3
    assert "can't be written to /dev/null/out" in one_message(ended)


def test_a_report_that_can_not_be_written_is_shown_all_the_same(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(grading, "grade", lambda *_, **__: report(Verdict.PASSED))
    monkeypatch.setattr(cli, "require_room", lambda _: None)
    assert cli.main(["grade", "lab-01", "--out", "/dev/null/out"]) == 3
    shown = capsys.readouterr()
    assert "100 of 100" in shown.out
    assert "can't be written" in shown.err


@pytest.mark.parametrize("variable", ["out", "TMPDIR"])
def test_a_full_disk(variable: str, out: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    script = f'mount -t tmpfs -o size=4k,nr_inodes=1 none {full} && exec "$@"'
    before = ("unshare", "--mount", *(() if os.getuid() == 0 else ("-r",)), "sh", "-c", script, "sh")
    if variable == "TMPDIR":
        before = (*before, "env", f"TMPDIR={full}", "TMP=/nowhere")
        code = f"import tempfile; tempfile.tempdir = {str(full)!r}; import sys; from autograder.cli import main; "
        argv = [*before, sys.executable, "-c", code + "sys.exit(main(sys.argv[1:]))"]
        ended = subprocess.run(
            [*argv, "grade", "lab-01", str(REFERENCE), "--out", str(out)],
            capture_output=True, text=True, check=False, cwd=ROOT,
        )  # fmt: skip
        found = Ended(ended.returncode, ended.stdout, ended.stderr, out)
    else:
        found = run("grade", "lab-01", REFERENCE, "--out", full / "out", out=out, before=before)
    assert found.exit_code == 3, found.stderr
    assert "No space left on device" in one_message(found)


def report(verdict: Verdict) -> Report:
    """A report on one check."""
    finding = None if verdict is Verdict.PASSED else Finding(saw="It was seen.")
    result = Result(check="lab-01/one", skill=1, title="One.", points=100, verdict=verdict, finding=finding)
    return Report(
        lab="lab-01-serving", title="t", submission="s", seed=1, runtime="local", isolation=(), versions={},
        skills={1: "One"}, results=(result,), seconds=1.0, started="2026-01-01T00:00:00+00:00",
    )  # fmt: skip


@pytest.mark.parametrize(("verdict", "code"), [(Verdict.FAILED, 0), (Verdict.NOT_RUN, 0), (Verdict.ERROR, 3)])
def test_what_could_not_be_graded_is_no_grade(
    verdict: Verdict, code: int, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(grading, "grade", lambda *_, **__: report(verdict))
    assert cli.main(["grade", "lab-01", "--out", str(out)]) == code


def test_an_error_of_ours_is_one_sentence(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> Report:
        raise KeyError("surprise")

    monkeypatch.setattr(grading, "grade", broken)
    assert cli.main(["grade", "lab-01", "--out", str(out)]) == 3
    said = capsys.readouterr().err
    assert "The grader failed, and not your work: KeyError: 'surprise'" in said
    assert "Traceback" not in said


def wait_for(look: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.01)


MOMENTS = {"at the start": "sandbox.py", "in the worker's": "autograder.worker", "in the training": "train.py"}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_grade_that_is_interrupted(number: signal.Signals, moment: str, out: Path, temporary: Path) -> None:
    process = subprocess.Popen(
        command("grade", "lab-01", REFERENCE, "--out", out),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    wait_for(lambda: any(MOMENTS[moment] in words for words in living()))
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert one_message(Ended(130, "", said, out)).startswith("Stopped.")
    assert living() == []
    assert list(temporary.iterdir()) == []
    assert not (out / "results.json").exists()


def test_a_killed_grade_leaves_no_process_and_the_next_one_removes_its_folder(out: Path, temporary: Path) -> None:
    process = subprocess.Popen(command("grade", "lab-01", REFERENCE, "--out", out), stdout=subprocess.DEVNULL, cwd=ROOT)
    wait_for(lambda: any("train.py" in words for words in living()))
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    wait_for(lambda: not any(each.is_running() for each in family))
    assert len(list(temporary.glob("model-deployment-*/pod-*/"))) == 1
    next_one = run("grade", "lab-01", REFERENCE, "--visible", "--out", out, out=out)
    assert next_one.exit_code == 0
    assert next_one.results["score"] > 0
