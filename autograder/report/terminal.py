"""A report in the terminal: progress while the checks run, and the closing table.

Both work at any width, in a pipe, without colours (``NO_COLOR``) and on a stream that knows only ASCII.
Nothing is said by colour alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from autograder.report.model import Report, Result, Verdict
from autograder.report.wording import (
    ASCII_MARKS,
    MARKS,
    Skill,
    caveats,
    explanation,
    next_step,
    plain,
    points,
    skills,
    waiting_for,
)

__all__ = ["Progress", "render"]

# Readable on light and dark grounds; the mark says the same without them.
_STYLES = {
    Verdict.PASSED: "green",
    Verdict.FAILED: "bold red",
    Verdict.BLOCKED: "dim",
    Verdict.NOT_RUN: "yellow",
    Verdict.ERROR: "bold magenta",
}
_ASCII = str.maketrans({"…": "...", "“": '"', "”": '"', "→": "->", "·": "|", "\u2019": "'", "\u2013": "-"})
# A finding is read here and studied in the HTML page: this many lines are enough for the next step.
_FINDING_LINES = 12
_WIDEST = 100


class Progress:
    """Shows which checks run, how many are done, the points so far and the seconds, while a lab is graded.

    On a terminal this is a live display that is gone at the end, when the closing table takes its place;
    anywhere else it is one plain line for each finished check. Its methods may be called from any thread.

    Args:
        total: how many checks there are; ``planned`` says it later when it is not known yet.
        console: where to show it; standard output unless told.
    """

    def __init__(self, total: int = 0, console: Console | None = None) -> None:
        self._console = console or Console()
        self._total = total
        self._lock = RLock()
        self._running: dict[str, tuple[str, float]] = {}
        self._finished: dict[str, Result] = {}
        self._began = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        # FORCE_COLOR makes rich take a pipe for a terminal; a line that is redrawn still has no place in one.
        if self._console.is_interactive and self._console.file.isatty():
            self._live = Live(get_renderable=self._picture, console=self._console, transient=True, refresh_per_second=8)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def planned(self, total: int) -> None:
        """It is known now how many checks there are."""
        with self._lock:
            self._total = total

    def started(self, check_id: str, title: str) -> None:
        """A check has begun."""
        with self._lock:
            self._running[check_id] = (title, time.monotonic())

    def finished(self, result: Result) -> None:
        """A check has ended, even one that never began (blocked, not run); one tried again ends twice."""
        with self._lock:
            self._running.pop(result.check, None)
            self._finished.pop(result.check, None)
            self._finished[result.check] = result
            if self._live is None:
                self._print_line(result)

    def _print_line(self, result: Result) -> None:
        count = f"[{len(self._finished):>{len(str(self._total))}}/{self._total}]"
        worth = f"{result.score}/{result.points}"
        verdict = f"{_mark(self._console, result.verdict)} {result.verdict.value:<7}"
        line = f"{count} {verdict} {worth:>5}  {result.title}"
        if result.seconds >= 0.05:
            line += f" ({result.seconds:.1f} s)"
        self._console.print(_text(self._console, line), soft_wrap=True)
        self._console.file.flush()

    def _picture(self) -> RenderableType:
        with self._lock:
            running = list(self._running.values())
            finished = list(self._finished.values())
        now = time.monotonic()
        console = self._console
        room = max(console.height - len(running) - 3, 1)
        rows = Table.grid(padding=(0, 1), expand=True)
        rows.add_column(width=1)
        rows.add_column(ratio=1, no_wrap=True, overflow="ellipsis" if not _ascii(console) else "crop")
        rows.add_column(justify="right", no_wrap=True)
        for result in finished[-room:]:
            style = _STYLES[result.verdict]
            rows.add_row(
                Text(_mark(console, result.verdict), style=style),
                _text(console, result.title),
                _text(console, f"{result.score}/{result.points}", style),
            )
        spinner = "|/-\\"[int(now * 8) % 4] if _ascii(console) else "◐◓◑◒"[int(now * 8) % 4]
        for title, since in running:
            rows.add_row(
                Text(spinner, style="cyan"),
                _text(console, title, "bold"),
                _text(console, f"{now - since:.0f} s", "dim"),
            )
        score = sum(result.score for result in finished)
        status = f"{len(finished)} of {self._total} checks · {points(score)} so far · {now - self._began:.0f} s"
        return Constrain(Group(rows, _text(console, status, "dim")), _WIDEST)


def render(report: Report, console: Console, files: Mapping[str, Path] | None = None) -> None:
    """Print the closing table: verdicts by skill, what did not pass and why, the score, where the files are.

    Args:
        report: what to show.
        console: where to show it.
        files: the files that were written, by name, as ``write_reports`` gives them.
    """
    width = min(console.width, _WIDEST)

    def show(content: RenderableType = "") -> None:
        console.print(content, width=width, highlight=False, markup=False)

    show()
    show(_text(console, report.title, "bold"))
    for skill in skills(report):
        show()
        show(_heading(console, skill))
        for result in skill.results:
            show(_row(console, result))
            if finding := _finding(console, report, result):
                show(Padding(finding, (0, 0, 0, 4 if width >= 40 else 2)))
    for block in (
        _remarks(console, report),
        _score(console, report),
        _provenance(console, report),
        [_text(console, f"{name:<12} {path}") for name, path in (files or {}).items()],
    ):
        if block:
            show()
        for line in block:
            show(line)


def _heading(console: Console, skill: Skill) -> Text:
    return _text(console, f"{skill.number}  {skill.title}", "bold")


def _row(console: Console, result: Result) -> Table:
    row = Table.grid(padding=(0, 1), expand=True)
    row.add_column(width=3, justify="right")
    row.add_column(ratio=1, overflow="fold")
    row.add_column(justify="right", no_wrap=True)
    style = _STYLES[result.verdict]
    title = _text(console, result.title)
    if result.verdict not in (Verdict.PASSED, Verdict.FAILED):
        title.append(f" [{result.verdict.value}]", style)
    row.add_row(
        Text(_mark(console, result.verdict), style=style),
        title,
        _text(console, f"{result.score}/{result.points}", style),
    )
    return row


def _finding(console: Console, report: Report, result: Result) -> Table | None:
    """What a check that did not pass has to say, as labelled paragraphs."""
    if result.verdict is Verdict.PASSED:
        return None
    saw, expected, hint = explanation(report, result)
    labels = ("saw", "expected", "try") if result.finding else ("", "", "try")
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, style="dim", min_width=8 if any(labels[:2]) else 3)
    table.add_column(ratio=1, overflow="fold")
    for label, text in zip(labels, (saw, expected, hint), strict=True):
        if text:
            body = _text(console, _first_lines(text), "dim" if result.verdict is Verdict.BLOCKED else "")
            table.add_row(label, body)
    if not any(labels[:2]) and not hint:
        return _unlabelled(console, saw)
    return table


def _unlabelled(console: Console, text: str) -> Table:
    table = Table.grid()
    table.add_column(overflow="fold")
    table.add_row(_text(console, _first_lines(text), "dim"))
    return table


def _remarks(console: Console, report: Report) -> list[Text]:
    """What must be said beside the score."""
    lines = [_text(console, f"Note: {note}", "yellow") for note in report.notes]
    return lines + [_text(console, caveat, "bold magenta") for caveat in caveats(report)]


def _score(console: Console, report: Report) -> list[Text]:
    """The score and the next step."""
    score = f"{report.score} of {points(report.max_score)}"
    counts = [f"{n} {verdict.value}" for verdict in Verdict if (n := report.count(verdict))]
    lines = [Text.assemble(_text(console, score, "bold"), _text(console, f" · {', '.join(counts)}"))]
    if step := next_step(report):
        waiting = len(waiting_for(report, step.check))
        also = f" ({waiting} more {'waits' if waiting == 1 else 'wait'} for it)" if waiting else ""
        lines.append(_text(console, f"Next: {step.title}{also}"))
    return lines


def _provenance(console: Console, report: Report) -> list[Text]:
    """How it was graded, and what stood between the student's code and the machine."""
    how = f"Graded in {report.seconds:.1f} s · runtime {report.runtime} · seed {report.seed}"
    walls = "; ".join(sentence.rstrip(".") for sentence in report.isolation) or "none"
    said = [how, f"Isolation: {walls}"]
    if report.runtime == "local" and "docker" in report.versions:
        said.append(f"Docker: {report.versions['docker']}")
    return [_text(console, sentence, "dim") for sentence in said]


def _first_lines(text: str) -> str:
    lines = text.strip("\n").split("\n")
    shown = [line if len(line) <= 600 else f"{line[:600]}…" for line in lines[:_FINDING_LINES]]
    if len(lines) > _FINDING_LINES:
        shown.append(f"… {len(lines) - _FINDING_LINES} more lines in report.html")
    return "\n".join(shown)


def _ascii(console: Console) -> bool:
    return console.options.ascii_only


def _mark(console: Console, verdict: Verdict) -> str:
    return (ASCII_MARKS if _ascii(console) else MARKS)[verdict]


def _text(console: Console, text: str, style: str = "") -> Text:
    """``text`` made harmless and encodable, in one style; never read as markup."""
    text = plain(text)
    if _ascii(console):
        text = text.translate(_ASCII)
    return Text(text.encode(console.encoding, "replace").decode(console.encoding), style=style)
