"""A report as one HTML page that needs nothing else: no script, no font, no request.

What a page shows of a submission is the student's and may be hostile: every value is escaped by jinja2,
escape codes are taken out first, and the page's own policy forbids scripts and requests.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import jinja2

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


def render_html(report: Report) -> str:
    """The whole page as text, to be stored as UTF-8."""
    step = next_step(report)
    return _template().render(
        report=report,
        skills=list(skills(report)),
        caveats=caveats(report),
        counts=[(verdict, report.count(verdict)) for verdict in Verdict if report.count(verdict)],
        step=step,
        waiting=waiting_for(report, step.check) if step else (),
        explanation=lambda result: explanation(report, result),
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"plain": plain, "points": points, "load_summary": load_summary}
    environment.globals |= {"MARKS": MARKS, "Verdict": Verdict}
    source = resources.files("autograder.report").joinpath("report.html.jinja").read_text("utf-8")
    return environment.from_string(source)
