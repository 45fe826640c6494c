"""A report as Gradescope's ``results.json``.

Gradescope knows two statuses, passed and failed; the course knows five verdicts. The verdict is in every
test's ``extra_data``, and one that is neither passed nor failed is named in the test's title and explained in
its output, so that nothing that could not be graded looks like a plain zero.

The format: https://gradescope-autograders.readthedocs.io/en/latest/specs/#output-format
"""

from __future__ import annotations

from typing import Any

from autograder.report.model import Evidence, Report, Result, Verdict
from autograder.report.wording import caveats, explanation, load_summary, plain

__all__ = ["results"]

# How much of one piece of evidence is worth reading in a box on a web page; its end says most.
_EVIDENCE_CHARACTERS = 4_000


def results(report: Report) -> dict[str, Any]:
    """The content of ``results.json``: a JSON object in Gradescope's format.

    Every check is in it, with its points, whatever its verdict. ``extra_data.graded`` is false when a check
    ended in an error: such a file is not to be taken as a grade.
    """
    return {
        "score": report.score,
        "execution_time": round(report.seconds, 1),
        "output": _summary(report),
        "output_format": "text",
        "visibility": "visible",
        "tests": [_test(report, result, number) for number, result in _numbered(report)],
        "extra_data": {
            "lab": report.lab,
            "submission": report.submission,
            "max_score": report.max_score,
            "graded": report.graded,
            "complete": report.complete,
            "verdicts": {verdict.value: report.count(verdict) for verdict in Verdict},
            "seed": report.seed,
            "runtime": report.runtime,
            "isolation": list(report.isolation),
            "versions": dict(report.versions),
            "notes": list(report.notes),
            "started": report.started,
        },
    }


def _numbered(report: Report) -> list[tuple[str, Result]]:
    """Each result with its number: ``3.2`` is the second check of skill 3."""
    seen: dict[int, int] = {}
    numbered = []
    for result in report.results:
        seen[result.skill] = seen.get(result.skill, 0) + 1
        numbered.append((f"{result.skill}.{seen[result.skill]}", result))
    return numbered


def _test(report: Report, result: Result, number: str) -> dict[str, Any]:
    title = plain(result.title)
    if result.verdict not in (Verdict.PASSED, Verdict.FAILED):
        title = f"[{result.verdict.value}] {title}"
    return {
        "name": title,
        "number": number,
        "score": result.score,
        "max_score": result.points,
        "status": "passed" if result.verdict is Verdict.PASSED else "failed",
        "output": _output(report, result),
        "output_format": "text",
        "visibility": "visible",
        "extra_data": {
            "check": result.check,
            "skill": result.skill,
            "verdict": result.verdict.value,
            "blocked_by": list(result.blocked_by),
            "seconds": round(result.seconds, 3),
        },
    }


def _summary(report: Report) -> str:
    lines = [f"{plain(report.title)}: {report.score} of {report.max_score} points"]
    lines[:0] = [f"{caveat}\n" for caveat in caveats(report)]
    lines += [f"Note: {plain(note)}" for note in report.notes]
    return "\n".join(lines)


def _output(report: Report, result: Result) -> str:
    saw, expected, hint = explanation(report, result)
    labelled = (("", saw), ("Expected: ", expected), ("Hint: ", hint))
    parts = [f"{label}{text}" for label, text in labelled if text]
    if result.verdict is Verdict.ERROR:
        parts.insert(0, "Not graded: an error of the grader or its machine, not a zero for the work.")
    if result.verdict is not Verdict.PASSED:
        parts += [_shown(evidence) for evidence in result.evidence]
    return "\n\n".join(parts) or "Passed."


def _shown(evidence: Evidence) -> str:
    title = plain(evidence.title)
    if evidence.kind == "load":
        return f"--- {title}\n{load_summary(evidence)}"
    text = plain(evidence.text).strip("\n")
    if len(text) > _EVIDENCE_CHARACTERS:
        text = f"… ({len(text) - _EVIDENCE_CHARACTERS} characters left out)\n{text[-_EVIDENCE_CHARACTERS:]}"
    return f"--- {title}\n{text}"
