"""The invigilator's side of a desk: hands in cells, and calls the student's functions as if they were here.

A function of the student's sees what the notebook has defined before it: imports, functions and classes of ours as
source, plain values as values, whenever they have changed. The working directory is the same on both sides, and so are
paths below the pod's folder for temporary files.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import os
import select
import socket
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from types import SimpleNamespace
from typing import Any

from autograder.classroom.exam import plain
from autograder.classroom.exam.model import Cell, Paper
from autograder.errors import GraderError
from autograder.pods import Limits, LocalPod, Program, Running

HERE = Path(__file__).parent
LIMITS = Limits(seconds=None, cpu_seconds=600)
SIMPLE = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class StudentError(Exception):
    """The student's code raised an exception, took too long, ended its process, or gave what is no plain value."""


class Opaque:
    """What stands for a value that can't cross: it may be ignored, and whoever looks at it hears what it is."""

    def __init__(self, what: str) -> None:
        object.__setattr__(self, "_what", what)

    def _look(self, *_: Any) -> Any:
        raise StudentError(f"Your code gives {object.__getattribute__(self, '_what')}: no plain value, but an object.")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _look
    __bool__ = __len__ = __iter__ = __getitem__ = __contains__ = __hash__ = _look
    __str__ = __repr__ = __format__ = __int__ = __float__ = __index__ = __array__ = __abs__ = _look
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _look
    __getattr__ = __enter__ = __exit__ = __fspath__ = _look


class Calls:
    """A desk, what has been handed in at it, and what it has been told."""

    def __init__(self, pod: LocalPod, namespace: dict[str, Any], paper: Paper) -> None:
        self.said: list[str] = []
        self._pod, self._namespace, self._seconds = pod, namespace, paper.call_seconds
        self._definitions = definitions(paper.cells)
        self._own = paper.extra
        self._running: Running | None = None
        self._connection: socket.socket | None = None
        self._buffer = b""
        self._handed_in: dict[str, str] = {}
        self._problems: dict[str, str] = {}
        self._deadly: set[str] = set()  # what ended a desk is not run again
        self._needed: set[str] = set()
        self._told: dict[str, bytes] = {}
        folder = pod.outside("/course/desk")
        folder.mkdir()
        for name in ("desk.py", "plain.py"):
            (folder / name).write_text((HERE / name).read_text("utf-8"), "utf-8")

    def hand_in(self, name: str, source: str) -> None:
        """Runs a cell of the student's, or a helper. What goes wrong comes out when its functions are called."""
        self._handed_in[name] = source
        self._run(name, source)

    def stand_ins(self, reference: str) -> dict[str, Any]:
        """What the tests find in place of an exercise's functions and values: those that the reference defines."""
        found: dict[str, Any] = {}
        for node in ast.parse(reference).body:
            if isinstance(node, ast.FunctionDef):
                found[node.name] = self._function(node.name)
            elif isinstance(node, ast.AsyncFunctionDef):
                found[node.name] = self._coroutine(node.name)
            elif isinstance(node, ast.Assign) and all(isinstance(target, ast.Name) for target in node.targets):
                for target in node.targets:
                    assert isinstance(target, ast.Name)
                    found[target.id] = self._value(target.id)
            elif not isinstance(node, (ast.Import, ast.ImportFrom, ast.Expr)):
                raise GraderError(f"An exercise defines functions and plain values, and not: {ast.unparse(node)[:80]}")
        return found

    def close(self) -> None:
        self._forget()

    def _function(self, name: str, do: str = "call") -> Callable[..., Any]:
        def stand_in(*args: Any, **kwargs: Any) -> Any:
            return self._order({"do": do, "name": name, "args": self._inside(args), "kwargs": self._inside(kwargs)})

        stand_in.__name__ = stand_in.__qualname__ = name
        return stand_in

    def _coroutine(self, name: str) -> Callable[..., Any]:
        ask = self._function(name, "await")

        async def stand_in(*args: Any, **kwargs: Any) -> Any:
            return ask(*args, **kwargs)

        stand_in.__name__ = stand_in.__qualname__ = name
        return stand_in

    def _value(self, name: str) -> Any:
        try:
            return self._order({"do": "get", "name": name})
        except StudentError:
            return None  # the test says what it makes of that

    def _run(self, name: str, source: str) -> None:
        self._problems.pop(name, None)
        try:
            self._learn(self._ask({"do": "names", "source": source}))
            self._order({"do": "run", "name": f"<{name}>", "source": source})
        except StudentError as error:
            self._problems[name] = str(error)
            if self._connection is None:
                self._deadly.add(name)

    def _run_own(self, source: str) -> None:
        """What students define in cells of their own is there for their exercises; what goes wrong in it is ignored."""
        if source not in self._deadly:
            try:
                self._learn(self._ask({"do": "names", "source": source}))
                self._order({"do": "define", "name": "<your own cell>", "source": source})
            except StudentError:
                if self._connection is None:
                    self._deadly.add(source)

    def _learn(self, names: Any) -> None:
        """Whatever a cell uses, and what that needs in turn, it gets from the notebook."""
        if not isinstance(names, list):
            return
        waiting = [name for name in names if isinstance(name, str)]
        while waiting:
            name = waiting.pop()
            if name not in self._needed:
                self._needed.add(name)
                waiting += self._definitions.get(name, ("", ()))[1]

    def _order(self, order: dict[str, Any]) -> Any:
        """Gives an order together with all that it needs. Raises StudentError."""
        self._be_there()
        self._open_up()
        fresh, values, sources = {}, {}, []
        for name in sorted(self._needed):
            source, _ = self._definitions.get(name, ("", ()))
            if source and name in self._namespace:
                fresh[name] = source.encode()
                if self._told.get(name) != fresh[name]:
                    sources.append(source)
            elif name in self._namespace and (line := self._plainly(self._namespace[name])) is not None:
                fresh[name] = hashlib.sha256(line).digest()
                if self._told.get(name) != fresh[name]:
                    values[name] = plain.loads(line)
        full = {"folder": self._folder(), "values": values, "definitions": list(dict.fromkeys(sources)), **order}
        answer = self._ask(full)
        self._told |= fresh
        return answer

    def _ask(self, order: dict[str, Any]) -> Any:
        """Sends one order and waits for its answer. Raises StudentError."""
        self._be_there()
        try:
            line = plain.dumps(order)
        except plain.NotPlain as error:
            raise GraderError(f"A test gives the student's code {error}; only plain values can cross.") from error
        answer = self._exchange(line)
        if not isinstance(answer, dict):
            raise StudentError("Your code disturbed the process it runs in.")
        said = answer.get("said")
        self.said.append(said if isinstance(said, str) else "")
        went_wrong = answer.get("error")
        if went_wrong is not None:
            raise _raised(went_wrong if isinstance(went_wrong, dict) else {}, list(self._problems.values()))
        if "opaque" in answer:
            return Opaque(str(answer["opaque"])[:200])
        return answer.get("value")

    def _exchange(self, line: bytes) -> Any:
        assert self._connection is not None
        deadline = time.monotonic() + self._seconds
        try:
            self._connection.settimeout(self._seconds)
            self._connection.sendall(line)
            while b"\n" not in self._buffer:
                ready, _, _ = select.select([self._connection], [], [], max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise TimeoutError
                chunk = self._connection.recv(1 << 20)
                if not chunk or len(self._buffer) > plain.MOST:
                    raise ConnectionResetError
                self._buffer += chunk
        except TimeoutError:
            self._forget()
            raise StudentError(f"Your code was still running after {self._seconds:g} seconds.") from None
        except OSError:
            ended = self._running.wait(5) if self._running is not None else None
            self._forget()
            how = f" (it {ended.ending()})" if ended is not None else ""
            raise StudentError(f"Your code ended the process it runs in{how}.") from None
        answer, _, self._buffer = self._buffer.partition(b"\n")
        try:
            return plain.loads(answer)
        except plain.NotPlain as error:
            raise StudentError(f"Your code gave {error}.") from None

    def _be_there(self) -> None:
        """Sees to it that there is a desk, with everything handed in that did not end an earlier one."""
        while self._connection is None:
            self._start()
            for source in self._own:
                self._run_own(source)
            for name, source in self._handed_in.items():
                if name not in self._deadly:
                    self._run(name, source)

    def _start(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            argv = ("python", "-E", "-s", self._pod.inside("/course/desk/desk.py"), str(server.getsockname()[1]))
            self._running = self._pod.start(Program(argv, cwd="/tmp", limits=LIMITS))
            server.settimeout(0.1)
            deadline = time.monotonic() + 120
            while self._connection is None:
                try:
                    self._connection = server.accept()[0]
                except TimeoutError:
                    if not self._running.alive or time.monotonic() > deadline:
                        raise GraderError(f"A desk could not be started: {self._running.log()[-500:]}") from None
        self._told, self._buffer = {}, b""

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._running is not None:
            self._running.kill()
        self._connection = self._running = None

    # -- the same paths on both sides --------------------------------------------------------------------------

    def _plainly(self, value: Any) -> bytes | None:
        """A value of the notebook's as it can cross; ``None`` when it can't."""
        if type(value).__module__.startswith("autograder."):
            # Our own objects, such as the running services: their public plain values are all that anybody needs.
            shown = {name: getattr(value, name, None) for name in dir(value) if not name.startswith("_")}
            shown = {name: dict(one) if isinstance(one, Mapping) else one for name, one in shown.items()}
            value = SimpleNamespace(**{name: one for name, one in shown.items() if not callable(one)})
        try:
            return plain.dumps(self._inside(value))
        except plain.NotPlain:
            return None

    def _folder(self) -> str:
        """The working directory as the desk calls it; empty when the desk can't go there."""
        here = str(Path.cwd())
        return self._inside(here) if here.startswith(str(self._pod.outside("/tmp"))) else ""

    def _inside(self, value: Any) -> Any:
        """A value with its paths as the desk calls them."""
        ours, theirs = str(self._pod.outside("/tmp")), self._pod.inside("/tmp")
        if ours == theirs:
            return value
        if type(value) is str:
            return value.replace(ours, theirs)
        if isinstance(value, PurePath):
            return Path(str(value).replace(ours, theirs))
        if type(value) in (list, tuple, set, frozenset):
            return type(value)(self._inside(one) for one in value)
        if type(value) is dict:
            return {self._inside(key): self._inside(one) for key, one in value.items()}
        if type(value) is SimpleNamespace:
            return SimpleNamespace(**{name: self._inside(one) for name, one in vars(value).items()})
        return value

    def _open_up(self) -> None:
        """Lets the desk write what the notebook's cells have made; a link is never followed, nor a way into a mount."""
        home = os.stat(self._pod.outside("/tmp")).st_dev
        for _, folders, files, top in os.fwalk(self._pod.outside("/tmp"), follow_symlinks=False):
            for name in (*folders, *files):
                try:
                    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=top)
                except OSError:
                    continue
                try:
                    if os.fstat(descriptor).st_dev != home:  # the course itself, where it lies below /tmp
                        folders[:] = set(folders) - {name}
                        continue
                    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
                    wanted = mode | (0o777 if stat.S_ISDIR(os.fstat(descriptor).st_mode) or mode & 0o100 else 0o666)
                    if wanted != mode:
                        os.fchmod(descriptor, wanted)
                except OSError:
                    continue
                finally:
                    os.close(descriptor)


def definitions(cells: tuple[Cell, ...]) -> dict[str, tuple[str, list[str]]]:
    """What the notebook's own cells define, by name: the source of each, and the names that it uses itself."""
    found: dict[str, tuple[str, list[str]]] = {}
    for cell in cells:
        if cell.kind in ("plain", "demonstration"):
            for node in simple(cell.source):
                source = ast.unparse(node)
                used = [one.id for one in ast.walk(node) if isinstance(one, ast.Name)]
                for name in bound(node):
                    found[name] = (source, used)
    return found


def simple(source: str) -> list[ast.stmt]:
    """The imports, functions and classes of a cell."""
    from IPython.core.inputtransformer2 import TransformerManager

    manager: Any = TransformerManager
    body: list[ast.stmt] = ast.parse(manager().transform_cell(source)).body
    found: list[ast.stmt] = []
    while body:
        node = body.pop(0)
        if isinstance(node, (ast.With, ast.Try)):
            body = [*node.body, *body]
        elif isinstance(node, SIMPLE):
            found.append(node)
    return found


def bound(node: ast.stmt) -> list[str]:
    """The names that an import or a definition binds."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [alias.asname or alias.name.partition(".")[0] for alias in node.names]
    assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    return [node.name]


def _raised(error: dict[str, Any], earlier: list[str]) -> StudentError:
    """The student's exception as one of ours that is also one of Python's own kind, if it is."""
    kind, text = str(error.get("kind", ""))[:80], str(error.get("text", ""))[:1000]
    lines = error.get("lines")
    where = [str(line)[:300] for line in lines[:4]] if isinstance(lines, list) else []
    said = "\n".join([f"{kind}: {text}", *where])
    if kind == "NameError" and earlier:
        said += "\nYour cell did not run: " + earlier[-1]
    family = getattr(builtins, kind, None)
    if isinstance(family, type) and issubclass(family, Exception):
        try:
            made: StudentError = type(kind, (StudentError, family), {"__str__": lambda _: said})(said)
        except TypeError:
            return StudentError(said)
        return made
    return StudentError(said)


__all__ = ["Calls", "StudentError", "definitions", "simple"]
