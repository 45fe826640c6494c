"""Short ways to say what a test runs in a pod, and to look at processes from outside."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from typing import Any

import psutil  # type: ignore[import-untyped]

from autograder.pods import Limits, Pod, Program

_marks = itertools.count()


def python(code: str, *argv: str, stdin: bytes = b"", **limits: Any) -> Program:
    """A Python program."""
    return Program(("python", "-c", code, *argv), stdin=stdin, limits=Limits(**limits))


def shell(script: str, **limits: Any) -> Program:
    return Program(("bash", "-c", script), limits=Limits(**limits))


def printed(pod: Pod, code: str, *argv: str, **limits: Any) -> str:
    """What a Python program prints; it has to end well."""
    finished = pod.run(python(code, *argv, **limits))
    assert finished.ok, finished.tail()
    return finished.stdout.decode().strip()


def write(pod: Pod, path: str, content: bytes) -> None:
    """Writes a file into the pod, as the grader does."""
    with os.fdopen(pod.open(path, os.O_WRONLY | os.O_CREAT), "wb") as stream:
        stream.write(content)


def new_mark() -> str:
    """An argument that tells the processes of one test from all others on this machine."""
    return f"mark-{os.getpid()}-{next(_marks)}"


def marked(mark: str) -> list[int]:
    """The processes that run with a mark among their arguments; ours stand in front of them with the mark in JSON."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline", "status"])
        if mark in (process.info["cmdline"] or ()) and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


def eventually(look: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Whether something comes true in time."""
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
