"""The report in a terminal, in a pipe, in grey, in ASCII."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from report_samples import hostile, realistic, result
from rich.console import Console

from autograder.report import Report, Verdict
from autograder.report.terminal import Progress, render


def shown(report: Report, width: int = 80, encoding: str = "utf-8", files: dict[str, Path] | None = None) -> str:
    """What a pipe of that encoding gets."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, newline="")
    render(report, Console(file=stream, width=width), files)
    stream.flush()
    return raw.getvalue().decode(encoding)


@pytest.fixture(autouse=True)
def ordinary_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def flat(text: str) -> str:
    return " ".join(text.split())


def test_every_verdict_has_its_mark_and_its_points() -> None:
    text = shown(realistic())
    assert "✓ train.py exports a SavedModel in a version folder." in text
    assert "✗ Column format equals the model's own answer." in text
    assert "… So it does for a model with random weights. [blocked]" in text
    assert "! One models.config serves two models. [error]" in text
    assert "– A watcher of the folder never sees half a version. [not run]" in text
    assert "8/8" in text
    assert "0/10" in text


def test_what_failed_says_saw_expected_and_try() -> None:
    text = flat(shown(realistic()))
    assert "saw No answer after 10.0 s" in text
    assert "expected ServerTimeout, at the latest 1 s" in text
    assert "try requests has no deadline unless you give one" in text


def test_a_blocked_check_names_the_check_that_it_waits_for() -> None:
    assert "it needs “Column format equals the model's own answer”" in flat(shown(realistic()))


def test_the_end_says_score_next_step_isolation_and_files() -> None:
    text = shown(realistic(), files={"report.html": Path("out/report.html")})
    end = flat(text[text.index("Note:") :])
    assert "44 of 100 points" in end
    assert "Next: Column format equals the model's own answer. (1 more waits for it)" in end
    assert "Isolation: own network without a route out, own processes" in end
    assert "report.html out/report.html" in end


def test_an_engine_without_its_images_is_said_below_the_score() -> None:
    said = "the engine answers, but has no image for Python: run `make images`"
    report = realistic().model_copy(update={"runtime": "local", "versions": {"docker": said}})
    assert f"Docker: {said}" in flat(shown(report))
    assert "Docker: the engine" not in flat(shown(report.model_copy(update={"versions": {}})))


def test_an_error_is_said_next_to_the_score() -> None:
    assert "Not fully graded: 1 check worth 10 points" in flat(shown(realistic()))


@pytest.mark.parametrize("width", [24, 40, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert max(len(line) for line in shown(realistic(), width).splitlines()) <= width


def test_a_pipe_gets_no_escape_codes() -> None:
    assert "\x1b" not in shown(hostile())


def test_an_ascii_stream_gets_ascii() -> None:
    text = shown(realistic(), encoding="ascii")
    assert "x Column format equals" in text
    assert 'needs "Column format' in flat(text)


def test_no_color_on_a_terminal_keeps_marks_and_drops_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = io.StringIO()
    render(realistic(), Console(file=stream, width=80, force_terminal=True))
    assert "✗" in stream.getvalue()
    assert "\x1b[31m" not in stream.getvalue()
    assert "\x1b[32m" not in stream.getvalue()


def test_a_student_s_escape_codes_never_reach_a_terminal() -> None:
    stream = io.StringIO()
    render(hostile(), Console(file=stream, width=80, force_terminal=True, color_system="truecolor"))
    assert "\x1b[2J" not in stream.getvalue()
    assert "\x1b]8" not in stream.getvalue()
    assert "\x00" not in stream.getvalue()


def test_a_student_s_markup_is_shown_as_written() -> None:
    assert "[bold]markup[/bold]" in flat(shown(hostile()))


def test_progress_in_a_pipe_is_one_plain_line_for_each_finished_check() -> None:
    stream = io.StringIO()
    done = result("one", 1, "It serves.", 60, Verdict.PASSED, seconds=1.25)
    with Progress(2, Console(file=stream, width=80)) as progress:
        progress.started("lab-01/one", "It serves.")
        progress.finished(done)
        progress.finished(result("two", 1, "It swaps.", 40, Verdict.BLOCKED))
    assert stream.getvalue().splitlines() == [
        "[1/2] ✓ passed  60/60  It serves. (1.2 s)",
        "[2/2] … blocked  0/40  It swaps.",
    ]


def test_progress_on_a_terminal_shows_what_runs_and_leaves_nothing() -> None:
    stream = Terminal()
    with Progress(2, Console(file=stream, width=80, legacy_windows=False)) as progress:
        progress.started("lab-01/one", "It serves.")
        progress.finished(result("two", 1, "It swaps.", 40, Verdict.PASSED))
    text = stream.getvalue()
    assert "1 of 2 checks · 40 points so far" in text
    assert "It serves." in text
    assert text.count("\x1b[?25h") == text.count("\x1b[?25l") == 1  # the cursor is back
    assert text.rstrip().endswith("\x1b[2K")  # and the last line is wiped


def test_progress_gives_the_cursor_back_after_ctrl_c() -> None:
    stream = Terminal()
    with (
        pytest.raises(KeyboardInterrupt),
        Progress(1, Console(file=stream, width=80, legacy_windows=False)),
    ):
        raise KeyboardInterrupt
    assert "\x1b[?25h" in stream.getvalue()


def test_progress_in_a_pipe_is_never_redrawn_even_with_colours_forced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    with Progress(1, Console(file=stream, width=80)) as progress:
        progress.started("lab-01/one", "It serves.")
    assert stream.getvalue() == ""


def test_a_check_that_is_tried_again_counts_once() -> None:
    stream = io.StringIO()
    with Progress(2, Console(file=stream, width=80)) as progress:
        progress.finished(result("one", 1, "It serves.", 60, Verdict.ERROR))
        progress.finished(result("one", 1, "It serves.", 60, Verdict.PASSED))
    assert [line[:7] for line in stream.getvalue().splitlines()] == ["[1/2] !", "[1/2] ✓"]
