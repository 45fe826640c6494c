"""The course inside a notebook or a script: start a lab's services, grade a lab, run a model server by hand.

In a notebook the answers render themselves, progress is one display that updates, and an error of the course is three
sentences instead of a stack trace. In a terminal the same calls print what the commands print. What ``model_server``
starts ends with the process that started it, however that ends.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import io
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console

from autograder import playground
from autograder.errors import CourseError, MachineError
from autograder.grading import grade
from autograder.lab import load_lab
from autograder.pods import Limits, LocalPod, Program, Running, pod_folder
from autograder.ports import holder
from autograder.report import Report, Result
from autograder.report.html import render_html
from autograder.report.terminal import Progress, render
from autograder.report.wording import points
from autograder.waiting import polling

__all__ = ["Server", "Services", "check", "down", "model_server", "quiet", "up"]

LISTENING = "Exporting HTTP/REST API at"
_CODE = re.compile(r"`([^`\n]+)`")
REPORT_HEIGHT = 640  # CSS pixels; the report scrolls within, and its lower edge can be dragged


@dataclass(frozen=True)
class Services:
    """A lab's services that are running.

    Attributes:
        lab: the lab's id.
        submission: the folder whose files they run with.
        addresses: what there is to look at, an address each, as a program on this machine reaches it.
    """

    lab: str
    submission: Path
    addresses: Mapping[str, str]

    @property
    def url(self) -> str:
        """Where the first service listens: ``http://127.0.0.1:8501``."""
        parts = urlsplit(next(address for address in self.addresses.values() if "://" in address))
        return f"{parts.scheme}://{parts.netloc}"

    def __repr__(self) -> str:
        lines = [f"{self.lab} is up, with the files of {self.submission}:"]
        lines += [f"  {title:<22} {_reachable(address)}" for title, address in self.addresses.items()]
        return "\n".join([*lines, "autograder.down() stops it."])

    def _repr_html_(self) -> str:
        left = ' style="text-align:left"'
        rows = "".join(
            f"<tr><th{left}>{escape(title)}</th><td{left}>{_link(address)}</td></tr>"
            for title, address in self.addresses.items()
        )
        return (
            f"<b>{escape(self.lab)} is up</b>, with the files of <code>{escape(str(self.submission))}</code>"
            f"<table>{rows}</table><code>autograder.down()</code> stops it."
        )


class Server:
    """A model server that this notebook started.

    Attributes:
        argv: its command line.
        url: where its REST API listens.
    """

    def __init__(self, running: Running, argv: tuple[str, ...], url: str) -> None:
        self._running, self.argv, self.url = running, argv, url

    @property
    def alive(self) -> bool:
        return self._running.alive

    def log(self, pattern: str = "", last: int | None = None) -> str:
        """What it has printed so far.

        Args:
            pattern: only the lines in which this regular expression is found.
            last: only so many of them, from the end.
        """
        lines = [line for line in self._running.log().splitlines() if re.search(pattern, line)]
        return "\n".join(lines[-last:] if last else lines)

    def wait_log(self, text: str, seconds: float = 30.0) -> str:
        """Waits until a line of the log holds ``text``, and gives it. Raises MachineError when none does."""

        def look() -> str | None:
            return next((line for line in self._running.log().splitlines() if text in line), None)

        try:
            return polling(look, seconds=seconds, saw="", pause=0.02, give_up=lambda: not self.alive)
        except CourseError:
            raise MachineError(
                f"The model server never said “{text}”. It said last:\n{self.log(last=5)}",
                "",
                "Look at all of it with `print(server.log())`.",
            ) from None

    def stop(self) -> None:
        """Ends it; returns when it is gone."""
        self._running.terminate()
        if self._running.wait(10) is None:
            self._running.kill()

    def __repr__(self) -> str:
        if self.alive:
            return f"a model server at {self.url}"
        return f"a model server that {self._running.finished().ending()}"


def up(lab: str = "lab-01", submission: str | Path | None = None) -> Services:
    """Starts a lab's services on the standard ports. When they are up already, it only says where.

    Args:
        lab: which: ``lab-01``.
        submission: the folder whose files they run with; by default the lab's own in ``labs/``.

    Raises:
        UsageError: there is no such lab.
        SubmissionError: the folder can't be used.
        MachineError: a port is taken.
        GraderError: the services don't start.
    """
    with _plainly():
        described = load_lab(lab)
        with contextlib.redirect_stdout(_Until(f"{described.id} is up, with", sys.stdout)):
            playground.up(lab, None if submission is None else Path(submission))
        ready = json.loads((playground.PODS / described.id / "ready.json").read_text("utf-8"))
    return Services(described.id, Path(ready["submission"]), ready["addresses"])


def down() -> None:
    """Stops what ``up`` and ``model_server`` started."""
    stopped = _by_hand.stop()
    with _plainly():
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            playground.down()
    print("The model server is stopped." if stopped and "Nothing" in said.getvalue() else said.getvalue().strip())


def check(
    lab: str = "lab-01",
    submission: str | Path | None = None,
    *,
    seed: int | None = None,
    visible: bool = False,
) -> Report:
    """Grades a lab and shows the report: in a notebook as a page of its own, in a terminal as a table.

    Args:
        lab: which: ``lab-01``.
        submission: the folder to grade; by default the lab's own in ``labs/``.
        seed: repeats a run: the number stands in its report.
        visible: run the visible checks only.

    Raises:
        CourseError: the submission can't be graded, or the grader failed; one of its subclasses.
    """
    with _plainly():
        described = load_lab(lab)
        folder = described.folder if submission is None else Path(submission)
        if _kernel() is None:
            with Progress() as progress:
                report = grade(described, folder, seed=seed, visible=visible, progress=progress)
            render(report, Console())
            return report
        with _Display(described.title) as display:
            report = grade(described, folder, seed=seed, visible=visible, progress=display)
            display.show(report)
        return report


def model_server(*flags: str, env: Mapping[str, str] | None = None, until: str = LISTENING) -> Server:
    """Runs ``tensorflow_model_server`` with the given flags, in place of the one that an earlier call started.

    It comes back when the server says that it listens, or when the server has ended: then its log says why.

    Args:
        flags: as on a command line: ``--rest_api_port=8501``.
        env: variables beside the course's own.
        until: come back when a line of the log holds this text.

    Raises:
        MachineError: a port is taken, or the text never comes.
    """
    with _plainly():
        return _by_hand.start(flags, env or {}, until)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Throws away what is written to standard error meanwhile: the log lines that greet who imports TensorFlow."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class _ByHand:
    """The one model server that was started by hand: a second one would want the same ports."""

    def __init__(self) -> None:
        self._server: Server | None = None
        self._holds = contextlib.ExitStack()
        atexit.register(self.stop)

    def start(self, flags: tuple[str, ...], env: Mapping[str, str], until: str) -> Server:
        self.stop()
        argv = ("tensorflow_model_server", *flags)
        rest, grpc = (_flag(flags, name) for name in ("rest_api_port", "port"))
        for port in (rest, grpc or 8500):
            if port and (found := holder(port)) is not None:
                raise MachineError(
                    f"Port {port} is taken by {found}.",
                    f"Nobody listens on {port}.",
                    "If it is a pod of yours, `autograder.down()` stops it.",
                )
        folder = self._holds.enter_context(pod_folder())
        # Relative paths in its flags are the notebook's own.
        pod = self._holds.enter_context(LocalPod(folder, elsewhere={"/submission": Path.cwd()}))
        running = pod.start(Program(argv, env=env, limits=Limits(seconds=None, cpu_seconds=10**6)))
        self._server = server = Server(running, argv, f"http://127.0.0.1:{rest}" if rest else "")
        try:
            server.wait_log(until)
        except MachineError:
            if server.alive:
                self.stop()
                raise
        return server

    def stop(self) -> bool:
        """Ends it; says whether there was one."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()
        self._holds.close()
        return server is not None


def _flag(flags: tuple[str, ...], name: str) -> int:
    """The value of a numeric flag; 0 when it is not given."""
    given = [flag.partition("=")[2] for flag in flags if flag.startswith(f"--{name}=")]
    return int(given[-1]) if given and given[-1].isdecimal() else 0


_by_hand = _ByHand()


class _Display:
    """The progress of a grading run and then its report, in one output of a notebook."""

    def __init__(self, title: str) -> None:
        self._title, self._total, self._began = title, 0, time.monotonic()
        self._running: dict[str, str] = {}
        self._finished: dict[str, Result] = {}

    def __enter__(self) -> _Display:
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


class _Until(io.TextIOBase):
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
def _plainly() -> Iterator[None]:
    """An error of the course reaches a notebook's reader as its sentences, without a stack trace."""
    try:
        yield
    except CourseError as error:
        said = [f"\x1b[1m{error.saw}\x1b[0m"]
        said += [f"Expected: {error.expected}"] if error.expected else []
        said += [f"Try: {error.hint}"] if error.hint else []
        vars(error)["_render_traceback_"] = lambda: said  # IPython asks an exception how it wants to be shown
        raise


def _kernel() -> Any:
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


def _reachable(address: str) -> str:
    """An address as the reader's browser reaches it: where its localhost is not ours, through the notebook server."""
    prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX") or ("/" if os.environ.get("CODESPACES") else "")
    parts = urlsplit(address)
    if not prefix or parts.scheme not in ("http", "https"):
        return address
    return f"{prefix.rstrip('/')}/proxy/{parts.port}{parts.path}"


def _link(address: str) -> str:
    reachable = _reachable(address)
    if "://" not in address:
        return f"<code>{escape(address)}</code>"
    return f'<a href="{escape(reachable)}" target="_blank" rel="noopener"><code>{escape(reachable)}</code></a>'
