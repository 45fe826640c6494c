"""The words and marks that every renderer shares, and the one place where a student's text is made harmless.

A report carries what student programs printed: escape codes, control characters, text that runs backwards.
All of it passes through :func:`plain` before it is shown anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from autograder.report.model import Evidence, Report, Result, Verdict

__all__ = [
    "ASCII_MARKS",
    "MARKS",
    "Skill",
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
    Verdict.NOT_RUN: "–",  # noqa: RUF001 a dash is the mark: nothing happened
    Verdict.ERROR: "!",
}
ASCII_MARKS = {
    Verdict.PASSED: "+",
    Verdict.FAILED: "x",
    Verdict.BLOCKED: ".",
    Verdict.NOT_RUN: "-",
    Verdict.ERROR: "!",
}

# ECMA-48: control sequences (colours, cursor), operating system commands (titles, links), short escapes.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-Z\\^-~]"
)
_NEWLINES = re.compile(r"\r+\n?")
_CONTROLS = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"} | {0x7F: 0x2421}
_BIDI = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_UNSHOWABLE = (*range(0x80, 0xA0), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF, *_BIDI)
_TRANSLATION = _CONTROLS | dict.fromkeys(_UNSHOWABLE, 0xFFFD)


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
    """``text`` without escape codes, its control characters made visible, its direction overrides disarmed.

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
        said.append(
            f"Not run here: {_checks(missing)} worth {points(lost)}, as this machine lacks what they need."
        )
    if not report.complete:
        said.append("These are the visible checks alone; the lab's grade comes from all of its checks.")
    return tuple(said)


def load_summary(evidence: Evidence) -> str:
    """A load in one sentence: how many requests, who answered them, how many failed."""
    answers: dict[str, int] = {}
    failed = 0
    for point in evidence.load:
        if point.failed:
            failed += 1
        else:
            answer = plain(point.answer)
            answers[answer] = answers.get(answer, 0) + 1
    parts = [f"{count} answered by {answer}" for answer, count in answers.items()]
    return f"{len(evidence.load)} requests: {', '.join([*parts, f'{failed} failed'])}."


def _blockers(report: Report, result: Result) -> str:
    titles = {other.check: plain(other.title).rstrip(".") for other in report.results}
    named = [f"“{titles[check]}”" if check in titles else check for check in result.blocked_by]
    return " and ".join(named) or "a check that did not pass"


def _checks(number: int) -> str:
    return f"{number} check" if number == 1 else f"{number} checks"
