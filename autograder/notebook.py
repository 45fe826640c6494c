"""The course inside a notebook or a script: start a lab's services, grade a lab, run a model server by hand.

In a notebook the answers render themselves, progress is one display that updates, and an error of the course is three
sentences instead of a stack trace. In a terminal the same calls print what the commands print.

What ``model_server`` starts ends with the process that started it. (When that is killed, a container outlives it; the
next run of ours that meets it removes it, and so does ``down``.)
"""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console

from autograder import playground
from autograder.display import Display, Until, kernel, link, plainly, reachable
from autograder.errors import CourseError, GraderError, MachineError
from autograder.grading import grade
from autograder.lab import Lab, load_lab
from autograder.pods import Limits, Program, Running, open_pod, pod_folder, wanted
from autograder.report import Report
from autograder.report.terminal import Progress, render
from autograder.waiting import polling

__all__ = ["Server", "Services", "check", "down", "model_server", "quiet", "up"]

LISTENING = "Exporting HTTP/REST API at"


@dataclass(frozen=True)
class Services:
    """A lab's services that are running.

    Attributes:
        lab: the lab's id.
        runtime: ``docker`` (as containers) or ``local`` (as programs of this machine).
        submission: the folder whose files they run with.
        addresses: what there is to look at, an address each, as a program on this machine reaches it.
    """

    lab: str
    runtime: str
    submission: Path
    addresses: Mapping[str, str]

    @property
    def url(self) -> str:
        """Where the first service listens: ``http://127.0.0.1:8501``."""
        parts = urlsplit(next(address for address in self.addresses.values() if "://" in address))
        return f"{parts.scheme}://{parts.netloc}"

    def __repr__(self) -> str:
        lines = [f"{self.lab} is up ({self.runtime}), with the files of {self.submission}:"]
        lines += [f"  {title:<22} {reachable(address)}" for title, address in self.addresses.items()]
        return "\n".join([*lines, "autograder.down() stops it."])

    def _repr_html_(self) -> str:
        left = ' style="text-align:left"'
        rows = "".join(
            f"<tr><th{left}>{escape(title)}</th><td{left}>{link(address)}</td></tr>"
            for title, address in self.addresses.items()
        )
        return (
            f"<b>{escape(self.lab)} is up</b> ({escape(self.runtime)}),"
            f" with the files of <code>{escape(str(self.submission))}</code>"
            f"<table>{rows}</table><code>autograder.down()</code> stops it."
        )


class Server:
    """A model server that this notebook started.

    Attributes:
        argv: its command line.
        url: where its REST API listens.
        runtime: ``docker`` or ``local``.
    """

    def __init__(self, running: Running, argv: tuple[str, ...], url: str, runtime: str, gone: ExitStack) -> None:
        self._running, self.argv, self.url, self.runtime, self._gone = running, argv, url, runtime, gone

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
        with self._gone, contextlib.suppress(GraderError):  # its container has failed, and is removed all the same
            self._running.terminate()
            if self._running.wait(10) is None:
                self._running.kill()

    def __repr__(self) -> str:
        if self.alive:
            return f"a model server at {self.url}"
        return f"a model server that {self._running.finished().ending()}"


def up(lab: str = "lab-01", submission: str | Path | None = None, runtime: str = "auto") -> Services:
    """Starts a lab's services on the standard ports. When they are up already, it only says where.

    Args:
        lab: which: ``lab-01``.
        submission: the folder whose files they run with; by default the lab's own in ``labs/``.
        runtime: ``docker`` (containers), ``local`` (programs of this machine), or ``auto``: what the environment's
            ``RUNTIME`` says, and otherwise Docker where an engine answers and has the images.

    Raises:
        UsageError: there is no such lab, or no such runtime.
        SubmissionError: the folder can't be used.
        MachineError: a port is taken; or Docker was asked for by name, and can't be used.
        GraderError: the services don't start.
    """
    with plainly():
        described = load_lab(lab)
        _by_hand.make_room()
        with contextlib.redirect_stdout(Until(f"{described.id} is up", sys.stdout)):
            playground.up(lab, None if submission is None else Path(submission), wanted(runtime))
        ready = json.loads((playground.PODS / described.id / "ready.json").read_text("utf-8"))
    return Services(described.id, ready["runtime"], Path(ready["submission"]), ready["addresses"])


def down() -> None:
    """Stops what ``up`` and ``model_server`` started."""
    stopped = _by_hand.stop()
    with plainly():
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            playground.down()
    lines = said.getvalue().splitlines()
    if stopped:
        lines = ["The model server is stopped.", *(line for line in lines if line != "Nothing was up.")]
    print("\n".join(lines))


def check(
    lab: str = "lab-01",
    submission: str | Path | None = None,
    *,
    seed: int | None = None,
    visible: bool = False,
    runtime: str = "auto",
) -> Report:
    """Grades a lab and shows the report: in a notebook as a page of its own, in a terminal as a table.

    Args:
        lab: which: ``lab-01``.
        submission: the folder to grade; by default the lab's own in ``labs/``, beside the notebook if it is there.
        seed: repeats a run: the number stands in its report.
        visible: run the visible checks only.
        runtime: as for ``up``; the report says which it was.

    Raises:
        CourseError: the submission can't be graded, or the grader failed; one of its subclasses.
    """
    with plainly():
        described = load_lab(lab)
        folder = _own_files(described) if submission is None else Path(submission)
        runtime = wanted(runtime)
        if kernel() is None:
            with Progress() as progress:
                report = grade(described, folder, seed=seed, visible=visible, runtime=runtime, progress=progress)
            render(report, Console())
            return report
        with Display(described.title) as display:
            report = grade(described, folder, seed=seed, visible=visible, runtime=runtime, progress=display)
            display.show(report)
        return report


def _own_files(lab: Lab) -> Path:
    """The lab's files that belong to this notebook: an assignment that was fetched brings its own."""
    beside = Path.cwd() / "labs" / lab.id
    return beside if beside.is_dir() else lab.folder


def model_server(
    *flags: str, env: Mapping[str, str] | None = None, until: str = LISTENING, runtime: str = "auto"
) -> Server:
    """Runs ``tensorflow_model_server`` with the given flags, in place of the one that an earlier call started.

    It comes back when the server says that it listens, or when the server has ended: then its log says why.

    Args:
        flags: as on a command line: ``--rest_api_port=8501``. A path in them is relative to the notebook's folder, or
            absolute and below it: of this machine's files, a container sees no others.
        env: variables beside the course's own.
        until: come back when a line of the log holds this text.
        runtime: as for ``up``.

    Raises:
        UsageError: there is no such runtime.
        MachineError: a port is taken, or the text never comes; or Docker was asked for by name, and can't be used.
        GraderError: Docker was asked for by name, and failed.
    """
    with plainly():
        return _by_hand.start(flags, env or {}, until, wanted(runtime))


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
        self._holds = ExitStack()  # its pod
        atexit.register(self._end)

    def start(self, flags: tuple[str, ...], env: Mapping[str, str], until: str, runtime: str) -> Server:
        self.stop()
        argv, here = ("tensorflow_model_server", *flags), Path.cwd()
        rest, grpc = (_flag(flags, name) for name in ("rest_api_port", "port"))
        ports = [port for port in (rest, grpc or 8500) if port]
        playground.require_ports(ports, "If it is a pod of yours, `autograder.down()` stops it.")
        self._holds = ExitStack()
        folder = self._holds.enter_context(pod_folder())
        pod = open_pod(
            runtime,
            ["tfserving"],
            folder,
            folder.with_suffix(".lock"),  # this process holds it, as long as it has the folder
            {"/submission": here},
            ports,
            as_here=[here],
            say=print,
        )
        self._holds.enter_context(pod)
        limits = Limits(seconds=None, cpu_seconds=10**6)
        running = pod.start(Program(argv, env=env, limits=limits, service="tfserving"))
        url = f"http://127.0.0.1:{rest}" if rest else ""
        self._server = server = Server(running, argv, url, pod.runtime, self._holds)
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

    def make_room(self) -> None:
        """What is left of a server that has ended by itself gives its ports back."""
        if self._server is not None and not self._server.alive:
            self._holds.close()

    def _end(self) -> None:
        """At the end of Python, which starts no more threads: nobody is asked to leave, the pod is removed."""
        self._server = None
        self._holds.close()


def _flag(flags: tuple[str, ...], name: str) -> int:
    """The value of a numeric flag; 0 when it is not given."""
    given = [flag.partition("=")[2] for flag in flags if flag.startswith(f"--{name}=")]
    return int(given[-1]) if given and given[-1].isdecimal() else 0


_by_hand = _ByHand()
