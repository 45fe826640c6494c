"""The process in which a student's exercises run: a program of its own, behind the sandbox's walls.

    python -E -s desk.py PORT

It takes one order a line from the invigilator and gives one answer a line. Nothing that it says is believed: an answer
is plain values, and the tests that look at them run elsewhere. The notebook's read-only cells run here, too: helpers
that hand a student's function what can't cross, such as another function.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import dis
import inspect
import io
import linecache
import os
import re
import socket
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout, suppress
from types import CodeType
from typing import Any

from plain import NotPlain, dumps, loads  # type: ignore[import-not-found]  # beside this file in a run

SAID = 4_000  # characters of what a student's code prints that are kept
MAGIC = re.compile(r"^[%!?].*$", re.MULTILINE)


class Desk:
    """A namespace, and the orders that work on it."""

    def __init__(self) -> None:
        self.namespace: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins}
        self._loop = asyncio.Runner()  # one for all orders, as in a notebook

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """One order: the ``names`` of a cell; ``run``, ``define`` it; ``call``, ``await``, ``get`` what it defines."""
        said = io.StringIO()
        answer: dict[str, Any]
        try:
            with redirect_stdout(said), redirect_stderr(said):
                answer = {"value": self._do(order)}
                try:
                    dumps(answer)
                except NotPlain as what:
                    answer = {"opaque": str(what)}
        except BaseException as error:  # also SystemExit: the desk goes on with the next order
            answer = {"error": describe(error)}
        answer["said"] = said.getvalue()[-SAID:]
        return answer

    def _do(self, order: dict[str, Any]) -> Any:
        kind = order["do"]
        if kind == "names":
            return names(plainly(order["source"]))
        if order["folder"]:
            os.chdir(order["folder"])
        self.namespace.update(order["values"])
        for definition in order["definitions"]:
            with suppress(Exception):  # what is missing then, the student's code will say if it needs it
                self._execute(definition, "<notebook>")
        if kind == "define":
            for definition in definitions(plainly(order["source"])):
                with suppress(Exception):
                    self._execute(definition, order["name"])
            return None
        if kind == "run":
            self._execute(plainly(order["source"]), order["name"])
            return None
        if order["name"] not in self.namespace:
            raise NameError(f"your cell does not define {order['name']}")
        found = self.namespace[order["name"]]
        if kind == "get":
            return found
        if kind == "await":
            return self._loop.run(awaited(found, order["args"], order["kwargs"]))
        return found(*order["args"], **order["kwargs"])

    def _execute(self, source: str, name: str) -> None:
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        code = compiled(source, name)
        if code.co_flags & inspect.CO_COROUTINE:
            self._loop.run(eval(code, self.namespace))
        else:
            exec(code, self.namespace)


def plainly(source: str) -> str:
    """A cell without IPython's own lines (``%time``, ``!ls``), when it is not Python with them."""
    try:
        ast.parse(source)
    except SyntaxError:
        return MAGIC.sub("pass", source)
    return source


def names(source: str) -> list[str]:
    """Every global name that a cell uses, in whatever function of it."""
    found: set[str] = set()
    waiting = [compiled(source, "<cell>")]
    while waiting:
        code = waiting.pop()
        found |= {one.argval for one in dis.get_instructions(code) if one.opname in ("LOAD_NAME", "LOAD_GLOBAL")}
        waiting += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return sorted(found)


def definitions(source: str) -> list[str]:
    """The imports, functions, classes and assignments of a cell, without what else it does."""
    kept = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
    return [ast.unparse(node) for node in ast.parse(source).body if isinstance(node, kept)]


def compiled(source: str, name: str) -> CodeType:
    """A cell as code; it is a coroutine's when the cell says `await` outside of a function, as in a notebook."""
    code: CodeType = compile(source, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    return code


async def awaited(function: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
    return await function(*args, **kwargs)


def describe(error: BaseException) -> dict[str, Any]:
    """An exception as plain texts, with the student's own lines."""
    kind = type(error)
    try:
        text = str(error)
    except Exception:
        text = "an exception that can't be shown"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    own = [frame for frame in frames if frame.filename.startswith("<")] or frames
    lines = [f"{frame.filename}, line {frame.lineno}: {frame.line}"[:300] for frame in own[-4:]]
    return {"kind": str(kind.__name__)[:80], "text": text[:1000], "lines": lines}


def main(port: int) -> None:
    desk = Desk()
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rwb") as stream:
        for line in stream:
            stream.write(dumps(desk.obey(loads(line))))
            stream.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
