"""How the course shows itself in a notebook: progress and report in one output, errors as sentences, links that work.

In a terminal the same things are printed by ``report.terminal`` and the commands.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import sys
import time
from collections.abc import Iterator
from html import escape
from typing import Any
from urllib.parse import urlsplit

from autograder.errors import CourseError
from autograder.report import Report, Result
from autograder.report.html import render_html
from autograder.report.wording import points

__all__ = ["Display", "Until", "kernel", "link", "plainly", "reachable"]

_CODE = re.compile(r"`([^`\n]+)`")
REPORT_HEIGHT = 640  # CSS pixels; the report scrolls within, and its lower edge can be dragged


class Display:
    """The progress of a grading run and then its report, in one output of a notebook."""

    def __init__(self, title: str) -> None:
        self._title, self._total, self._began = title, 0, time.monotonic()
        self._running: dict[str, str] = {}
        self._finished: dict[str, Result] = {}

    def __enter__(self) -> Display:
        display: Any = importlib.import_module("IPython.display").display
        self._handle = display({"text/html": self._picture(), "text/plain": self._title}, raw=True, display_id=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._update("", "")

    def planned(self, total: int) -> None:
        self._total = total
        self._redraw()

    def started(self, check_id: str, title: str) -> None:
        self._running[check_id] = title
        self._redraw()

    def finished(self, result: Result) -> None:
        self._running.pop(result.check, None)
        self._finished[result.check] = result
        self._redraw()

    def show(self, report: Report) -> None:
        """The report in place of the progress."""
        self._update(_frame(report), _summary(report))

    def _redraw(self) -> None:
        self._update(self._picture(), "")

    def _picture(self) -> str:
        score = sum(result.score for result in self._finished.values())
        state = f"{len(self._finished)} of {self._total} checks · {points(score)} so far" if self._total else "starting"
        running = "<br>".join(_CODE.sub(r"<code>\1</code>", escape(title)) for title in self._running.values())
        return (
            f"<b>{escape(self._title)}</b><br>"
            f'<progress max="{self._total or 1}" value="{len(self._finished)}" style="width:100%"></progress>'
            f"{state} · {time.monotonic() - self._began:.0f} s<br><small>{running or '&nbsp;'}</small>"
        )

    def _update(self, html: str, text: str) -> None:
        self._handle.update({"text/html": html, "text/plain": text}, raw=True)


def _frame(report: Report) -> str:
    """The report's page in a frame of its own: its styles stay in, and nothing in it can run."""
    return (
        f'<iframe sandbox title="{escape(report.title)}" srcdoc="{escape(render_html(report))}"'
        f' style="box-sizing:border-box;width:100%;height:{REPORT_HEIGHT}px;border:1px solid #ccc;border-radius:6px;'
        f'resize:vertical;overflow:auto;background:#f7f6f3"></iframe>'
    )


def _summary(report: Report) -> str:
    return f"{report.title}: {report.score} of {points(report.max_score)}"


class Until(io.TextIOBase):
    """Passes lines on as they come, up to the one that begins with a given text; what follows is shown otherwise."""

    def __init__(self, end: str, stream: Any) -> None:
        self._end, self._stream, self._ended, self._line = end, stream, False, ""

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._ended = self._ended or line.startswith(self._end)
            if not self._ended:
                self._stream.write(line + "\n")
                self._stream.flush()
        return len(text)


@contextlib.contextmanager
def plainly() -> Iterator[None]:
    """An error of the course reaches a notebook's reader as its sentences, without a stack trace."""
    try:
        yield
    except CourseError as error:
        said = [f"\x1b[1m{error.saw}\x1b[0m"]
        said += [f"Expected: {error.expected}"] if error.expected else []
        said += [f"Try: {error.hint}"] if error.hint else []
        vars(error)["_render_traceback_"] = lambda: said  # IPython asks an exception how it wants to be shown
        raise


def kernel() -> Any:
    """The notebook kernel that this runs in; ``None`` in a terminal."""
    if "IPython" not in sys.modules:
        return None
    shell = sys.modules["IPython"].get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    # A report that is the last thing in a cell has been shown already: one line instead of all its fields.
    shell.display_formatter.formatters["text/plain"].for_type(Report, _one_line)
    return shell.kernel


def _one_line(report: Report, printer: Any, cycle: bool) -> None:
    printer.text(_summary(report))


def reachable(address: str) -> str:
    """An address as the reader's browser reaches it: where its localhost is not ours, through the notebook server."""
    prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX") or ("/" if os.environ.get("CODESPACES") else "")
    parts = urlsplit(address)
    if not prefix or parts.scheme not in ("http", "https"):
        return address
    return f"{prefix.rstrip('/')}/proxy/{parts.port}{parts.path}"


def link(address: str) -> str:
    reached = reachable(address)
    if "://" not in address:
        return f"<code>{escape(address)}</code>"
    return f'<a href="{escape(reached)}" target="_blank" rel="noopener"><code>{escape(reached)}</code></a>'
