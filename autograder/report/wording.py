"""The words and marks that every renderer shares, and the one place where a student's text is made harmless.

A report carries what student programs printed: escape codes, control characters, text that runs backwards.
All of it passes through :func:`plain` before it is shown anywhere.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from autograder.report.model import Evidence, LoadPoint, Report, Result, Verdict

__all__ = [
    "ASCII_MARKS",
    "MARKS",
    "Skill",
    "answered_by",
    "caveats",
    "explanation",
    "load_summary",
    "next_step",
    "plain",
    "points",
    "skills",
    "waiting_for",
]

MARKS = {
    Verdict.PASSED: "✓",
    Verdict.FAILED: "✗",
    Verdict.BLOCKED: "…",
    Verdict.NOT_RUN: "–",
    Verdict.ERROR: "!",
}
ASCII_MARKS = {
    Verdict.PASSED: "+",
    Verdict.FAILED: "x",
    Verdict.BLOCKED: ".",
    Verdict.NOT_RUN: "-",
    Verdict.ERROR: "!",
}

# More kinds of answers than this are counted together.
_KINDS = 5

# ECMA-48: control sequences (colours, cursor), operating system commands (titles, links), short escapes.
_ESCAPES = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-Z\\^-~]")
_NEWLINES = re.compile(r"\r+\n?")
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
# What turns the direction of text, halves of characters, and two that are none.
_NOT_TEXT = (*range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF)
_TRANSLATION = _CONTROLS | {code: f"\\u{code:04x}" for code in _NOT_TEXT}


@dataclass(frozen=True)
class Skill:
    """One skill of the lab with its checks, in the lab's order."""

    number: int
    title: str
    results: tuple[Result, ...]

    @property
    def score(self) -> int:
        return sum(result.score for result in self.results)

    @property
    def max_score(self) -> int:
        return sum(result.points for result in self.results)


def plain(text: str) -> str:
    """``text`` without escape codes; control characters and direction overrides are written out: ``\\x00``.

    The answer holds only characters that XML 1.0, a terminal and an HTML page may show; newlines and tabs
    stay.
    """
    return _NEWLINES.sub("\n", _ESCAPES.sub("", text)).translate(_TRANSLATION)


def points(number: int) -> str:
    """``1 point``, ``7 points``."""
    return f"{number} point" if number == 1 else f"{number} points"


def skills(report: Report) -> Iterator[Skill]:
    """The report's results by skill, lowest number first."""
    for number in sorted({result.skill for result in report.results}):
        title = plain(report.skills.get(number, f"Skill {number}"))
        yield Skill(number, title, tuple(result for result in report.results if result.skill == number))


def explanation(report: Report, result: Result) -> tuple[str, str, str]:
    """What a check that did not pass has to say: (saw, expected, hint), each possibly empty, all harmless.

    A check that has no finding of its own gets the sentence that its verdict means.
    """
    if result.finding is not None:
        return plain(result.finding.saw), plain(result.finding.expected), plain(result.finding.hint)
    match result.verdict:
        case Verdict.PASSED:
            return "", "", ""
        case Verdict.FAILED:
            return "The check found a fault in the work.", "", ""
        case Verdict.BLOCKED:
            return f"Not tried yet: it needs {_blockers(report, result)}.", "", ""
        case Verdict.NOT_RUN:
            return "This machine lacks what the check needs.", "", "See what is missing: make doctor"
        case Verdict.ERROR:
            return "The grader or this machine failed here, not the work.", "", "Grade it again."


def next_step(report: Report) -> Result | None:
    """The failed check to mend first: the first in the lab's order, as later ones build on earlier ones."""
    return next((result for result in report.results if result.verdict is Verdict.FAILED), None)


def waiting_for(report: Report, check: str) -> tuple[Result, ...]:
    """The checks that are blocked by ``check``, directly or through one another."""
    waiting: dict[str, Result] = {}
    frontier = {check}
    while frontier:
        found = [r for r in report.results if r.check not in waiting and frontier.intersection(r.blocked_by)]
        waiting.update((result.check, result) for result in found)
        frontier = {result.check for result in found}
    return tuple(waiting.values())


def caveats(report: Report) -> tuple[str, ...]:
    """What must be said beside the score, most important first; empty when the score is the whole truth."""
    said = []
    if errors := report.count(Verdict.ERROR):
        lost = sum(result.points for result in report.results if result.verdict is Verdict.ERROR)
        said.append(
            f"Not fully graded: {_checks(errors)} worth {points(lost)} ended in an error of the grader or its"
            " machine. That is not the work's fault, and this is not a final score. Grade it again."
        )
    if missing := report.count(Verdict.NOT_RUN):
        lost = sum(result.points for result in report.results if result.verdict is Verdict.NOT_RUN)
        said.append(f"Not run here: {_checks(missing)} worth {points(lost)}, as this machine lacks what they need.")
    if not report.complete:
        said.append("These are the visible checks alone; the lab's grade comes from all of its checks.")
    return tuple(said)


def answered_by(point: LoadPoint) -> str:
    """Who answered a request that did not fail: ``version 12``, or the answer itself when it is no number."""
    return f"version {point.answer}" if point.answer.isascii() and point.answer.isdigit() else plain(point.answer)


def load_summary(evidence: Evidence) -> str:
    """A load in one sentence: how many requests, who answered them, how many failed and how."""
    answers = Counter(answered_by(point) for point in evidence.load if not point.failed)
    failures = Counter(plain(point.answer) for point in evidence.load if point.failed)
    parts = [f"{count} answered by {answer}" for answer, count in _commonest(answers)]
    parts.append(f"{failures.total()} failed")
    how = ", ".join(f"{count} of them: {failure}" for failure, count in _commonest(failures))
    return f"{len(evidence.load)} requests: {', '.join(parts)}{how and f' ({how})'}."


def _commonest(counts: Counter[str]) -> list[tuple[str, int]]:
    """The counts in the order of their first; beyond a handful only the most common, and the rest as one."""
    if len(counts) <= _KINDS:
        return list(counts.items())
    kept = counts.most_common(_KINDS - 1)
    return [*kept, ("others", counts.total() - sum(count for _, count in kept))]


def _blockers(report: Report, result: Result) -> str:
    titles = {other.check: plain(other.title).rstrip(".") for other in report.results}
    named = [f"“{titles[check]}”" if check in titles else check for check in result.blocked_by]
    return " and ".join(named) or "a check that did not pass"


def _checks(number: int) -> str:
    return f"{number} check" if number == 1 else f"{number} checks"
