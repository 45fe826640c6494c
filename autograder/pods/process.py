"""A sandboxed process from outside: its output, its limits, its end.

One thread per process reads what it prints (the ends of it are kept, the rest is read and dropped), looks at its
memory, and ends it when a limit is passed. No wait in here is longer than it takes for a thing to happen.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Protocol, cast

from autograder.errors import GraderError
from autograder.pods.program import POD_MEMORY, Finished, MiB, Program
from autograder.pods.sandbox import Spec

SANDBOX = Path(__file__).with_name("sandbox.py")
KEEP = 256 * 1024  # bytes of each stream's beginning and of its end
LOOK = 0.1  # seconds between two looks at the limits
LONGEST = 5  # times its seconds that a program may take where the machine is to blame


class Capture:
    """The beginning and the end of a stream, in bounded memory."""

    def __init__(self) -> None:
        self.size = 0
        self._head = bytearray()
        self._tail = bytearray()

    def add(self, chunk: bytes) -> None:
        self.size += len(chunk)
        room = KEEP - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:] if room < len(chunk) else b""
        if len(self._tail) > 2 * KEEP:
            del self._tail[:-KEEP]

    def bytes(self) -> bytes:
        left_out = self.size - len(self._head) - len(self._tail)
        gap = f"\n[… {left_out} bytes left out …]\n".encode() if left_out else b""
        return bytes(self._head) + gap + bytes(self._tail)


class Share:
    """The memory that a pod's student programs use together; each of them tells it what it uses."""

    def __init__(self, most: int = POD_MEMORY) -> None:
        self.most = most
        self._used: dict[object, int] = {}
        self._lock = threading.Lock()

    def too_much(self, who: object, used: int) -> bool:
        """Whether it is too much for all, and ``who`` has the largest part of it."""
        with self._lock:
            self._used[who] = used
            return sum(self._used.values()) > self.most and used == max(self._used.values())

    def leave(self, who: object) -> None:
        """``who`` uses nothing any more."""
        with self._lock:
            self._used.pop(who, None)


class Handle(Protocol):
    """A sandbox that was started, wherever it runs: what ``Process`` needs of it.

    Attributes:
        streams: the grader's ends of its standard input, output and error.
        lifeline: the grader's end of its lifeline, whose closing ends everything; it says why nothing could start.
        lost: why nobody can say any more how it ended; empty as long as somebody can.
    """

    streams: tuple[IO[bytes], IO[bytes], IO[bytes]]
    lifeline: socket.socket
    lost: str

    def poll(self) -> int | None:
        """Its exit code, ``None`` while it runs."""

    def wait(self, seconds: float) -> None:
        """Waits for its end, ``seconds`` at most."""

    def terminate(self) -> None:
        """Passes SIGTERM on to the program."""

    def memory(self) -> int:
        """Bytes of memory of all its processes; 0 when they are gone."""

    def waited(self) -> float:
        """Seconds that it was ready to run and the machine had no processor for it; 0 where that can't be told."""

    def close(self) -> None:
        """Lets go of what it holds beside the streams and the lifeline."""


class Child:
    """A sandbox that is a child of this process. Raises OSError when the machine can't start one."""

    lost = ""

    def __init__(self, spec: Spec) -> None:
        theirs, self.lifeline = socket.socketpair()
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SANDBOX), json.dumps(spec | {"lifeline": theirs.fileno()})],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                env={},
                start_new_session=True,
            )
        except BaseException:
            self.lifeline.close()
            raise
        finally:
            theirs.close()
        streams = (self._popen.stdin, self._popen.stdout, self._popen.stderr)
        self.streams = cast("tuple[IO[bytes], IO[bytes], IO[bytes]]", streams)

    def poll(self) -> int | None:
        status = self._popen.poll()
        return 128 - status if status is not None and status < 0 else status

    def wait(self, seconds: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(seconds)

    def terminate(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._popen.terminate()

    def memory(self) -> int:
        import psutil  # not before something runs: what is started first does not wait for it

        total = 0
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(self._popen.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    total += process.memory_info().rss
        return total

    def waited(self) -> float:
        import psutil

        longest = 0
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(self._popen.pid).children(recursive=True):
                for file in Path(f"/proc/{process.pid}/task").glob("*/schedstat"):
                    with contextlib.suppress(OSError):
                        longest = max(longest, int(file.read_text().split()[1]))
        return longest / 1e9

    def close(self) -> None:
        """Nothing to let go of: its number is gone with it."""


class Process:
    """One program in a sandbox, from its start to its end."""

    def __init__(self, program: Program, handle: Handle, share: Share | None = None) -> None:
        """Attends to a sandbox that was just started, which has a ``share`` of its pod's memory."""
        self.program = program
        self._share = share or Share(program.limits.memory)
        self.stopped = ""
        self._began = self._ended = time.monotonic()
        self._not_started = ""
        self._done = threading.Event()
        self._out, self._err = Capture(), Capture()
        self._lock = threading.Lock()
        self._next_look = 0.0
        self._handle = handle
        self._lifeline: socket.socket | None = handle.lifeline
        self._thread = threading.Thread(target=self._attend, name=f"attend {program.argv[0]}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return not self._done.is_set()

    def log(self) -> str:
        """What it has printed so far: standard output, then standard error."""
        with self._lock:
            return (self._out.bytes() + self._err.bytes()).decode("utf-8", "replace")

    def wait(self, seconds: float | None = None) -> Finished | None:
        """Waits for its end, ``seconds`` at most; ``None`` if it is still running then. Raises as ``finished`` does."""
        if not self._done.wait(seconds):
            return None
        return self.finished()

    def terminate(self) -> None:
        """Sends SIGTERM to the program."""
        self._handle.terminate()

    def kill(self, why: str = "") -> None:
        """Ends it and all that it started, at once; returns when nothing of it is left."""
        with self._lock:
            if self._lifeline is not None:
                self.stopped = self.stopped or why
                self._lifeline.close()
                self._lifeline = None
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def finished(self) -> Finished:
        """How it ended; to be asked when it has. Raises GraderError when it could not be started, or nobody knows."""
        if self._not_started:
            raise GraderError(f"A program could not be started: {self._not_started}.")
        exit_code = self._handle.poll()
        if exit_code is None:
            raise GraderError(f"What runs the student's programs is gone: {self._handle.lost or 'it says nothing'}.")
        return Finished(
            argv=self.program.argv,
            exit_code=exit_code,
            stdout=self._out.bytes(),
            stderr=self._err.bytes(),
            stopped=self.stopped,
            seconds=self._ended - self._began,
        )

    def _attend(self) -> None:
        """The thread's work: streams, limits, end."""
        streams = stdin, stdout, stderr = self._handle.streams
        captures = {stdout: self._out, stderr: self._err}
        pending = memoryview(self.program.stdin)
        with selectors.DefaultSelector() as selector:
            for stream in streams:
                os.set_blocking(stream.fileno(), False)
            selector.register(stdout, selectors.EVENT_READ)
            selector.register(stderr, selectors.EVENT_READ)
            if pending:
                selector.register(stdin, selectors.EVENT_WRITE)
            else:
                stdin.close()
            while len(selector.get_map()):
                for key, _ in selector.select(LOOK):
                    stream = cast("IO[bytes]", key.fileobj)
                    if stream is stdin:
                        try:
                            pending = pending[os.write(stdin.fileno(), pending[:65536]) :]
                        except BrokenPipeError:
                            pending = pending[:0]
                        if not pending:
                            selector.unregister(stdin)
                            stdin.close()
                    elif chunk := os.read(stream.fileno(), 65536):
                        with self._lock:
                            captures[stream].add(chunk)
                    else:
                        selector.unregister(stream)
                self._keep_limits()
                if self._over() and not selector.select(0):
                    break
        while not self._over():
            self._keep_limits()
            self._handle.wait(LOOK)
        for stream in streams:
            stream.close()
        self._handle.close()
        self._share.leave(self)
        with self._lock:
            if self._lifeline is not None:
                self._lifeline.setblocking(False)
                with contextlib.suppress(OSError):
                    self._not_started = self._lifeline.recv(2000).decode("utf-8", "replace")
                self._lifeline.close()
                self._lifeline = None
        self._ended = time.monotonic()
        self._done.set()

    def _over(self) -> bool:
        return self._handle.poll() is not None or bool(self._handle.lost)

    def _late(self, running: float, most: float) -> bool:
        """Whether it has run too long, not counting the time in which a busy machine did not let it."""
        return running > most and (running - self._handle.waited() > most or running > LONGEST * most)

    def _keep_limits(self) -> None:
        limits = self.program.limits
        now = time.monotonic()
        if self.stopped or now < self._next_look:
            return
        self._next_look = now + LOOK
        if limits.seconds is not None and self._late(now - self._began, limits.seconds):
            self.kill(f"was still running after {limits.seconds:g} seconds")
        elif self._out.size + self._err.size > limits.output:
            self.kill(f"printed more than {limits.output // MiB} MiB")
        elif (used := self._handle.memory()) > limits.memory:
            self.kill(f"used more than {limits.memory // MiB} MiB of memory")
        elif self._share.too_much(self, used):
            self.kill(f"used more than {self._share.most // MiB} MiB of memory together with what ran beside it")
