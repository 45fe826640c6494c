"""A report as one HTML page that needs nothing else: no script, no font, no request.

What a page shows of a submission is the student's and may be hostile: every value is escaped by jinja2,
escape codes are taken out first, and the page's own policy forbids scripts and requests.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import cache
from importlib import resources

import jinja2
from markupsafe import Markup, escape

from autograder.report import plot
from autograder.report.model import Report, Verdict
from autograder.report.wording import (
    MARKS,
    caveats,
    explanation,
    load_summary,
    next_step,
    plain,
    points,
    skills,
    waiting_for,
)

__all__ = ["render_html"]

_CODE = re.compile(r"`([^`\n]{1,100})`")
_ANSWER = re.compile(r"\n+(?=HTTP/\d)")


def render_html(report: Report) -> str:
    """The whole page as text, to be stored as UTF-8."""
    step = next_step(report)
    return _template().render(
        report=report,
        skills=list(skills(report)),
        caveats=caveats(report),
        shares=_shares(report),
        step=step,
        waiting=waiting_for(report, step.check) if step else (),
        explanation=lambda result: explanation(report, result),
    )


def _shares(report: Report) -> list[tuple[Verdict, int, int]]:
    """(verdict, how many checks, the points that they are worth) for each verdict that occurs."""
    return [
        (verdict, len(found), sum(result.points for result in found))
        for verdict in Verdict
        if (found := [result for result in report.results if result.verdict is verdict])
    ]


def _prose(text: str) -> Markup:
    """Text with its `code` set as code; everything in it is escaped first."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))


def _moment(text: str) -> str:
    """An ISO 8601 time as people read it, in its own zone; any other text as it is."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return plain(text)
    return f"{moment:%Y-%m-%d %H:%M} {moment.tzname() or ''}".rstrip()


def _exchange(text: str) -> list[tuple[str, str]]:
    """(title, text) of a request and its answer; one untitled part when they can't be told apart."""
    parts = _ANSWER.split(plain(text).strip("\n"), maxsplit=1)
    return list(zip(("Request", "Answer"), parts, strict=True)) if len(parts) == 2 else [("", parts[0])]


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "plain": plain,
        "points": points,
        "prose": _prose,
        "exchange": _exchange,
        "moment": _moment,
        "summary": load_summary,
    }
    environment.globals |= {"MARKS": MARKS, "Verdict": Verdict, "plot": plot}
    source = resources.files("autograder.report").joinpath("report.html.jinja").read_text("utf-8")
    return environment.from_string(source)
