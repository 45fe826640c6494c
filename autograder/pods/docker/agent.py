"""Number 1 of the container for student programs: starts each in a sandbox, and sees to its end.

    python -I -S agent.py SOCKET

It connects to the grader once and runs what it is told over that connection, which no other process can open: a
message is a sandbox's ``Spec`` as JSON with five descriptors (standard input, output and error, lifeline, and a
control socket to say ``m`` with the bytes of memory in use and the nanoseconds of waiting for a processor, ``x`` with
the exit code, and to hear ``t`` for SIGTERM).

It is of the same user as the programs, without any privilege. They can't end, stop or trace it, as it is number 1 and
not dumpable; when they end their own sandbox's watcher, what they had started falls to it, and is killed.
Nothing but the standard library, and the sandbox beside it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time

SANDBOX = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sandbox.py")
PR_SET_DUMPABLE = 4
LARGEST = 1 << 17  # bytes of one message
LOOK = 0.1  # seconds between two looks at the memory
PATIENCE = 2.0  # seconds of killing one by one what a program left, before everything is killed at once
PAGE = os.sysconf("SC_PAGE_SIZE")


class Job:
    """A sandbox that runs: its watcher, its lifeline, and the grader's ear."""

    def __init__(self, watcher: subprocess.Popen[bytes], lifeline: int, control: socket.socket) -> None:
        self.watcher, self.lifeline, self.control = watcher, lifeline, control
        self.killed = False

    def say(self, message: bytes) -> None:
        with contextlib.suppress(OSError):  # a grader that does not listen is told the next time, or is gone
            self.control.send(message, socket.MSG_DONTWAIT)

    def close(self) -> None:
        os.close(self.lifeline)
        self.control.close()


def connect(path: str) -> socket.socket:
    """The connection to the grader, who may not have opened the socket yet, or not have given it to this user."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    deadline = time.monotonic() + 60
    while True:
        try:
            connection.connect(path)
            return connection
        except (FileNotFoundError, ConnectionRefusedError, PermissionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def begin(message: bytes, descriptors: list[int]) -> Job:
    """Starts a sandbox."""
    stdin, stdout, stderr, lifeline, control = descriptors
    spec = json.loads(message) | {"lifeline": lifeline}
    watcher = subprocess.Popen(
        [sys.executable, "-I", "-S", SANDBOX, json.dumps(spec)],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=(lifeline,),
        env={},
        start_new_session=True,
    )
    for descriptor in (stdin, stdout, stderr):
        os.close(descriptor)
    return Job(watcher, lifeline, socket.socket(fileno=control))


def processes() -> dict[int, tuple[int, int]]:
    """The parent and the bytes of memory of every living process but this one, by number."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and entry != "1":
            try:
                with open(f"/proc/{entry}/stat", "rb") as stream:
                    fields = stream.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if fields[0] != b"Z":
                found[int(entry)] = int(fields[1]), int(fields[21]) * PAGE
    return found


def below(top: int, table: dict[int, tuple[int, int]]) -> set[int]:
    """All processes that descend from ``top``."""
    found: set[int] = set()
    layer = {top}
    while layer:
        layer = {number for number, (parent, _) in table.items() if parent in layer} - found
        found |= layer
    return found


def waited(numbers: set[int]) -> int:
    """Nanoseconds that the thread which waited longest was ready to run and had no processor."""
    longest = 0
    for number in numbers:
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{number}/task"):
                with open(f"/proc/{number}/task/{thread}/schedstat", "rb") as stream:
                    longest = max(longest, int(stream.read().split()[1]))
    return longest


class Agent:
    """The jobs that run, and the loop that attends to them."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.jobs: dict[int, Job] = {}

    def run(self) -> None:
        """Attends to everything until the grader hangs up. The container ends with this process."""
        wake, woken = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(woken, False)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        next_look = 0.0
        while True:
            ears: dict[int, Job] = {job.control.fileno(): job for job in self.jobs.values()}
            lifelines: dict[int, Job] = {job.lifeline: job for job in self.jobs.values() if not job.killed}
            pause = LOOK if self.jobs else None
            calls = self.connection.fileno()
            ready, _, _ = select.select([calls, wake, *ears, *lifelines], [], [], pause)
            if wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake, 4096)
            for descriptor in ready:
                if descriptor in lifelines:
                    lifelines[descriptor].killed = True
                    lifelines[descriptor].watcher.kill()  # what was below it falls to this process
                elif descriptor in ears:
                    self.hear(ears[descriptor])
            self.collect()
            if calls in ready:
                message, descriptors = self.call()
                if not message:
                    return
                job = begin(message, descriptors)
                self.jobs[job.watcher.pid] = job
            if self.jobs and time.monotonic() > next_look:
                next_look = time.monotonic() + LOOK
                table = processes()
                for pid, job in self.jobs.items():
                    numbers = below(pid, table)
                    job.say(b"m%d %d" % (sum(table[number][1] for number in numbers), waited(numbers)))

    def call(self) -> tuple[bytes, list[int]]:
        """What the grader wants started; nothing when it has hung up."""
        try:
            message, descriptors, _, _ = socket.recv_fds(self.connection, LARGEST, 5)
        except ConnectionResetError:  # it had nothing to start, and never took the connection
            return b"", []
        return message, descriptors

    def hear(self, job: Job) -> None:
        with contextlib.suppress(OSError):
            if job.control.recv(16) == b"t":
                job.watcher.terminate()

    def collect(self) -> None:
        """Tells the ends of jobs, after all that they started is gone."""
        ended = [job for job in self.jobs.values() if job.watcher.poll() is not None]
        for job in ended:
            del self.jobs[job.watcher.pid]
        if ended:
            self.sweep()
        for job in ended:
            code = job.watcher.returncode
            job.say(b"x%d" % (128 - code if code < 0 else code))
            job.close()

    def sweep(self) -> None:
        """Ends every process that belongs to no job."""
        deadline = time.monotonic() + PATIENCE
        while True:
            table = processes()
            self.bury()  # after the look, which passes over the dead: none of them stays
            kept = set(self.jobs)
            for pid in self.jobs:
                kept |= below(pid, table)
            strays = table.keys() - kept
            if not strays:
                return
            if time.monotonic() > deadline:
                os.kill(-1, signal.SIGKILL)  # a fork bomb that is faster than this loop takes the others along
            for pid in strays:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.001)

    def bury(self) -> None:
        """Collects orphans that have ended; the jobs' own watchers are left to ``Popen``."""
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            job = self.jobs.get(found.si_pid)
            if job is None:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(found.si_pid, os.WNOHANG)
            else:
                return  # it is the next thing that ``collect`` looks at


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one signal that Python would make number 1 listen to
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    Agent(connect(sys.argv[1])).run()


if __name__ == "__main__":
    main()
