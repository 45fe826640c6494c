"""The process inside a pod that runs the instructor's notebook and its tests; the student's code runs at a desk.

It is started behind the pod's outer walls and writes its words, one JSON object a line, to a pipe. No line of the
student's is run or parsed in here; of a cell that is a demonstration, only what it defines is run. A test that raises
is *failed*; when what it needs can't be had (a cell of ours fails, a server of ours is gone) the verdict is *error*.
"""

from __future__ import annotations

import ast
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import requests

from autograder.classroom.exam.calls import Calls, StudentError, simple
from autograder.classroom.exam.model import Cell, Mark, Paper, Word
from autograder.errors import CheckFailed, CourseError
from autograder.pods import LocalPod, Walls
from autograder.pods.sandbox import mount
from autograder.report.model import Verdict

BEGIN, END = "BEGIN HIDDEN TESTS", "END HIDDEN TESTS"
HIDDEN = "A hidden test of this exercise did not find what the text asks for."
NOT_OURS = "The tests of this exercise could not be run; that is not your work's fault."
# What means that something of ours is gone, in whatever line of a test.
GONE = (ConnectionError, requests.ConnectionError, requests.Timeout, MemoryError)


class Examination:
    """The instructor's namespace, cell by cell, and the student's desk beside it."""

    def __init__(self, paper: Paper, pod: LocalPod, write: Any) -> None:
        self.paper, self._write = paper, write
        self._shell = _shell()
        self.calls = Calls(pod, self._shell.user_ns, paper)
        self._broken = ""

    def run(self) -> None:
        """All cells up to the last test; one mark for each test."""
        last = max(number for number, cell in enumerate(self.paper.cells) if cell.kind == "test")
        for cell in self.paper.cells[: last + 1]:
            match cell.kind:
                case "solution" | "helper":
                    own = cell.kind == "solution"
                    self.calls.hand_in(cell.name, self.paper.handed_in.get(cell.name, "") if own else cell.source)
                    self._shell.user_ns.update(self.calls.stand_ins(cell.source))
                case "test":
                    self._say(mark=self._test(cell))
                case _:
                    self._plain(cell)

    def _plain(self, cell: Cell) -> None:
        shown = cell.kind == "demonstration"
        error = self._execute("\n".join(map(ast.unparse, simple(cell.source))) if shown else cell.source)
        if error is None or cell.tagged or self._broken:
            return
        if not _caused_by(error, StudentError):  # a cell that shows the student's own work may well fail
            self._broken = f"a cell of the notebook failed:\n{cell.source[:400]}\n{_told(error)}"
            self._say(trace=self._broken)

    def _test(self, cell: Cell) -> Mark:
        if self._broken:
            return Mark(test=cell.name, points=cell.points, verdict=Verdict.ERROR, saw=NOT_OURS)
        self.calls.said.clear()
        error = self._execute(cell.source)
        said = "".join(self.calls.said)[-4000:].replace("\0", "�")
        if error is None:
            return Mark(test=cell.name, points=cell.points, verdict=Verdict.PASSED, said=said)
        student = _caused_by(error, StudentError)
        if not student and not isinstance(error, CheckFailed) and _caused_by(error, (*GONE, CourseError)):
            self._say(trace=f"the test {cell.name} could not be run:\n{_told(error)}")
            return Mark(test=cell.name, points=cell.points, verdict=Verdict.ERROR, saw=NOT_OURS)
        saw = _finding(error, cell.source, self._shell.user_ns)
        return Mark(test=cell.name, points=cell.points, verdict=Verdict.FAILED, saw=saw, said=said)

    def _execute(self, source: str) -> BaseException | None:
        """Runs a cell of the instructor's; gives what it raised."""
        result = self._shell.run_cell(source, store_history=False, silent=True)
        error: BaseException | None = result.error_before_exec or result.error_in_exec
        return error

    def _say(self, **fields: Any) -> None:
        self._write(Word(**fields).model_dump_json(exclude_none=True))


def _shell() -> Any:
    """IPython without a kernel: a notebook's `!curl` and its plots work, and nobody can send it anything."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    quiet = Config()
    quiet.HistoryManager.enabled = False
    shell: Any = InteractiveShell.instance(config=quiet)
    shell.showtraceback = lambda *_, **__: None
    shell.showsyntaxerror = lambda *_, **__: None
    return shell


def _caused_by(error: BaseException | None, kinds: Any) -> bool:
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        if isinstance(error, kinds):
            return True
        seen.append(error)
        error = error.__cause__ or error.__context__
    return False


def _told(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-6000:].replace("\0", "�")


def _finding(error: BaseException, source: str, namespace: dict[str, Any]) -> str:
    """What a student reads about a test that did not hold: of hidden lines only the message that its author wrote."""
    if isinstance(error, StudentError):
        return str(error)[:4000].replace("\0", "�")
    lines, line = source.splitlines(), _line(error, namespace)
    opened = [number for number, text in enumerate(lines, 1) if BEGIN in text]
    closed = [number for number, text in enumerate(lines, 1) if END in text]
    hidden = line == 0 or any(first <= line <= last for first, last in zip(opened, closed, strict=False))
    message = error.args[0] if isinstance(error, AssertionError) and error.args else ""
    if hidden:
        return f"{HIDDEN} It says: {message[:500]}" if isinstance(message, str) and message else HIDDEN
    detail = f" ({type(error).__name__}: {error})"[:500] if str(error) else ""
    return f"This does not hold: `{lines[line - 1].strip()}`{detail}".replace("\0", "�")


def _line(error: BaseException, namespace: dict[str, Any]) -> int:
    """The line of the test cell in which an exception came up; 0 when it can't be told."""
    found = 0
    walked = error.__traceback__
    while walked is not None:
        if walked.tb_frame.f_globals is namespace and walked.tb_frame.f_code.co_name == "<module>":
            found = walked.tb_lineno
        walked = walked.tb_next
    return found


def main() -> int:
    """Holds one examination; the exit code only says whether the invigilator got to its end."""
    paper = Paper.model_validate_json(sys.stdin.readline() if sys.argv[1] == "-" else Path(sys.argv[1]).read_text())
    words = os.fdopen(int(sys.argv[2]), "w", encoding="utf-8")
    os.set_inheritable(words.fileno(), False)

    def write(line: str) -> None:
        words.write(line + "\n")
        words.flush()

    try:
        if paper.namespaces:  # behind these walls, nothing but a pod's own folder can be written to
            mount("tmpfs", str(paper.state), "tmpfs", 0, "size=512m,mode=700")
        pod = LocalPod(paper.folder, Walls(paper.namespaces, paper.user))
        with pod:
            _settle(pod, paper.state)
            examination = Examination(paper, pod, write)
            try:
                examination.run()
            finally:
                examination.calls.close()
        write(Word(done=True).model_dump_json(exclude_none=True))
    except Exception:
        write(Word(trace=traceback.format_exc()[-10_000:].replace("\0", "�")).model_dump_json(exclude_none=True))
        return 1
    return 0


def _settle(pod: LocalPod, state: Path) -> None:
    """Makes the pod's own folders the ones that a notebook's cells use."""
    home = pod.outside("/course/home")
    home.mkdir()
    temporary = pod.outside("/tmp")
    os.environ.update(
        HOME=str(home),
        TMPDIR=str(temporary),
        IPYTHONDIR=str(home / "ipython"),
        MPLCONFIGDIR=str(home / "matplotlib"),
        KERAS_HOME=str(home / "keras"),
        MPLBACKEND="agg",
        NBGRADER_EXECUTION="autograde",
        AUTOGRADER_PODS=str(state / "up"),  # what `autograder.up` starts here is nobody else's
        RUNTIME="local",  # and it is within these walls
    )
    tempfile.tempdir = str(temporary)
    os.chdir(temporary)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)


__all__ = ["Examination", "main"]

if __name__ == "__main__":
    os._exit(main())
