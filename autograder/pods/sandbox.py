"""Runs one program behind walls; a program of its own that uses nothing but the standard library.

    python -I -S sandbox.py '{"argv": […], "env": {…}, …}'      (the fields are those of ``Spec`` below)

It promises: when the program ends, when the starter closes the lifeline, or when the starter dies,
however it dies, nothing that the program started is alive any more. SIGTERM is passed on to the program. The exit
status is the program's own, or 128 + the signal that ended it.

Where the kernel allows it, three processes stand in a row: this one (outside), an init (number 1 of a new process
namespace, whose end is the end of everything in it), and the program. Elsewhere this process collects orphans
and ends them itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import resource
import select
import signal
import struct
import sys
import time
from typing import Any, NoReturn, TypedDict

CLONE_FLAGS = {
    "mount": 0x00020000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
PR_SET_DUMPABLE = 4
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_SECUREBITS, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = (
    1,
    24,
    28,
    36,
    38,
)
# SECBIT_NOROOT and SECBIT_NO_SETUID_FIXUP, both locked: number 0 of a user namespace gains nothing by exec.
SECUREBITS = 0b1111
START_FAILED = 125

LINUX = sys.platform == "linux"
libc = ctypes.CDLL(None, use_errno=True)


class Spec(TypedDict):
    """What to run, and behind which walls."""

    argv: list[str]
    env: dict[str, str] | None  # None: what this process was given
    cwd: str
    lifeline: int  # a descriptor; when its other end closes, everything ends
    namespaces: list[str]  # names of CLONE_FLAGS
    loopback: bool  # bring up the loopback device of a new network namespace
    root: str | None  # the folder that the program takes for "/"
    user: int | None  # the numeric user and group to become; None keeps them
    drop: bool  # give up every privilege before the program starts
    own_command: bool  # what can't be executed ends with 127 or 126, as in a shell; otherwise the starter is told
    limits: dict[str, int]  # names of resource.RLIMIT_* without the prefix, in lower case
    nice: int  # added to the niceness


def first_to_go() -> None:
    """When memory runs out, the kernel ends this program, and nothing of ours."""
    try:
        with open("/proc/self/oom_score_adj", "w") as stream:
            stream.write("900")
    except OSError:
        return  # it was higher already, or there is none


def stand_back(nice: int) -> None:
    """Waits longer than others for a processor: among this session's programs, and with all of them among sessions."""
    if nice:
        os.nice(nice)
        with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as stream:
            stream.write(str(nice))


def call(name: str, *args: Any) -> None:
    """A function of the C library that answers 0, or an OSError that names it."""
    if getattr(libc, name)(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2). Raises OSError."""
    call("mount", source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode())


def enter_namespaces(names: list[str]) -> None:
    """Moves this process (for ``pid``: its children) into new namespaces. Raises OSError where that is forbidden."""
    uid, gid = os.getuid(), os.getgid()
    flags = 0
    for name in names:
        flags |= CLONE_FLAGS[name]
    call("unshare", ctypes.c_int(flags))
    if "user" in names:
        for file, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            with open(f"/proc/self/{file}", "w") as stream:
                stream.write(text)
    if "mount" in names:
        mount("none", "/", "none", MS_REC | MS_PRIVATE)


def loopback_up() -> None:
    """Switches on ``lo`` in this network namespace."""
    import socket  # every program's start waits for what is imported here, and few need this

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        siocsifflags, iff_up = 0x8914, 1
        fcntl.ioctl(control, siocsifflags, struct.pack("16sh14x", b"lo", iff_up))


def give_up_privileges(user: int | None) -> None:
    """Becomes ``user`` if that is possible, and loses every capability for good."""
    if not LINUX:
        return
    if os.getuid() == 0:
        last_capability = 40
        for capability in range(last_capability + 1):
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
        libc.prctl(PR_SET_SECUREBITS, SECUREBITS, 0, 0, 0)
        if user is not None:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
        version_3 = 0x20080522
        call("capset", struct.pack("Ii", version_3, 0), bytes(24))
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def fail(spec: Spec, why: str) -> NoReturn:
    """Ends a process that can't start its program. The starter hears it on the lifeline, which no program can reach."""
    os.write(2, f"sandbox: {why}\n".encode())
    with contextlib.suppress(OSError):
        os.write(spec["lifeline"], why.encode())
    os._exit(START_FAILED)


def become(spec: Spec) -> NoReturn:
    """The last step: limits, privileges, and the program takes this process over."""
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.chdir(spec["cwd"])
        stand_back(spec["nice"])
        for name, value in spec["limits"].items():
            kind = getattr(resource, f"RLIMIT_{name.upper()}", None)
            if kind is None:
                continue
            hard = resource.getrlimit(kind)[1]
            bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (bound, bound))
        if spec["drop"]:
            give_up_privileges(spec["user"])
        if LINUX:  # last: becoming another user forgets it
            call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.umask(0o022)
        os.execvpe(spec["argv"][0], spec["argv"], os.environ if spec["env"] is None else spec["env"])
    except OSError as error:
        if spec["own_command"]:
            os.write(2, f"{spec['argv'][0]}: {error.strerror}\n".encode())
            os._exit(127 if error.errno == errno.ENOENT else 126)
        if error.errno == errno.EAGAIN:  # too many processes of its own user: nobody's fault but its own
            os.write(2, f"{spec['argv'][0]}: {error.strerror}\n".encode())
            os._exit(START_FAILED)
        fail(spec, f"{spec['argv'][0]}: {error}")


def code(status: int) -> int:
    """A wait status as an exit code, as a shell gives it."""
    number = os.waitstatus_to_exitcode(status)
    return 128 - number if number < 0 else number


def init(spec: Spec) -> NoReturn:
    """Number 1 of the new process namespace: starts the program, collects orphans, ends with it."""
    call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.setsid()
    if spec["root"] is not None:
        mount("proc", spec["root"] + "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        os.chroot(spec["root"])
        os.chdir("/")
    elif "mount" in spec["namespaces"]:
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    child = os.fork()
    if child == 0:
        become(spec)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # The program alone keeps the pipes: their end is then its end, not ours.
    for descriptor in (0, 1, 2, spec["lifeline"]):
        os.close(descriptor)
    while True:
        pid, status = os.wait()
        if pid == child:
            os._exit(code(status))


def descendants() -> list[int]:
    """Every process below this one, from the system's process table."""
    parents: dict[int, int] = {}
    if LINUX:
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    with open(f"/proc/{entry}/stat", "rb") as stream:
                        fields = stream.read().rpartition(b")")[2].split()
                except OSError:
                    continue
                if fields[0] != b"Z":
                    parents[int(entry)] = int(fields[1])
    else:
        import subprocess  # likewise

        table = subprocess.run(["/bin/ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=False).stdout
        parents = {int(pid): int(parent) for pid, parent in (line.split() for line in table.splitlines())}
    found: list[int] = []
    layer = {os.getpid()}
    while layer:
        layer = {pid for pid, parent in parents.items() if parent in layer}
        found += layer
    return found


def end_everything(child: int, own_namespace: bool) -> None:
    """Kills what the program started; returns when none of it is left."""
    if own_namespace:
        os.kill(child, signal.SIGKILL)
        return
    deadline = time.monotonic() + 30  # a fork bomb is faster than one sweep, and much memory takes time to go
    while (remaining := descendants()) and time.monotonic() < deadline:
        for pid in remaining:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        reap(child)
        time.sleep(0.001)


def reap(child: int) -> int | None:
    """Collects every ended child; the exit code of ``child`` if it was among them."""
    ended = None
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                ended = code(status)
    except ChildProcessError:
        pass
    return ended


def watch(child: int, lifeline: int, own_namespace: bool) -> int:
    """Waits for the program's end or the lifeline's; leaves nothing alive; gives the exit code."""
    wake, woken = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    killed = False
    while True:
        ended = reap(child)
        if ended is not None:
            if not own_namespace:
                end_everything(child, own_namespace)
            return ended
        ready, _, _ = select.select([wake] if killed else [wake, lifeline], [], [])
        if wake in ready:
            try:
                os.read(wake, 4096)
            except BlockingIOError:
                continue
        if lifeline in ready:
            killed = True
            end_everything(child, own_namespace)
            if not own_namespace:
                return 128 + signal.SIGKILL


def main() -> int:
    spec: Spec = json.loads(sys.argv[1])
    own_namespace = "pid" in spec["namespaces"]
    os.set_inheritable(spec["lifeline"], False)
    if LINUX and spec["drop"]:
        first_to_go()
    try:
        if spec["namespaces"]:
            enter_namespaces(spec["namespaces"])
        if spec["loopback"]:
            loopback_up()
    except OSError as error:
        fail(spec, str(error))
    if LINUX and not own_namespace:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)  # the program may be of the same user: it can't trace or read this one
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))  # until somebody passes it on
    try:
        child = os.fork()
        if child == 0:
            if own_namespace:
                init(spec)
            os.setpgid(0, 0)
            become(spec)
    except OSError as error:
        fail(spec, str(error))
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    return watch(child, spec["lifeline"], own_namespace)


if __name__ == "__main__":
    os._exit(main())
