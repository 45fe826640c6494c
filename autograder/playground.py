"""``make up-01``, ``make down``, ``make status``: a lab's services on the standard ports, to play with.

A keeper process holds the pod. While it lives the services do; when it ends, so do they. (Containers outlive a keeper
that is killed; whatever of ours runs next removes them.) The pod's ``/submission`` is the student's own folder, and its
``/models`` the folder ``models`` in it: what changes there is served.

They are containers where an engine answers and has the images, and otherwise programs of this machine, as for a grade;
``RUNTIME`` forces one.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil

from autograder.errors import CourseError, GraderError, MachineError
from autograder.lab import ROOT, Lab, labs, load_lab, read_lab
from autograder.pods import Pod, choose, open_pod, wanted
from autograder.ports import holder
from autograder.submission import examine
from autograder.waiting import polling

PODS = Path(os.environ.get("AUTOGRADER_PODS", ROOT / ".pods"))
DOCKER = "docker"  # a file in the folder of a pod that has containers


def up(name: str, submission: Path | None, runtime: str = "auto") -> int:
    """Starts a lab's services. A second ``up`` only says where they are.

    Args:
        name: the lab's.
        submission: the folder whose files they run with; by default the lab's own.
        runtime: ``auto``, ``local`` or ``docker``.

    Raises:
        CourseError: they can't be started; one of its subclasses.
    """
    lab = load_lab(name)
    submission = (submission or lab.folder).resolve()
    examine(submission)
    state = PODS / lab.id
    if keeper(state) is None:
        if runtime == "docker":
            choose(runtime, lab.services)  # says what is missing before anything is started
        if _killed():
            with contextlib.suppress(MachineError):  # no engine that answers, so nothing of it is in the way
                _clear_up()
        for other in labs():
            if keeper(PODS / other) is not None:
                raise MachineError(f"{other} is already up, on the same ports.", "", "Run `make down` first.")
        require_ports(importlib.import_module(f"{lab.checks}.play").PORTS)
        _start_keeper(lab, submission, state, runtime)
    else:
        print(f"{lab.id} is already up.")
    _show(lab, state)
    return 0


def down() -> int:
    """Ends every keeper, and with it all that it started."""
    found = False
    for state in _states():
        pid = keeper(state)
        if pid is not None:
            found = True
            process = psutil.Process(pid)
            process.terminate()
            try:
                process.wait(30)
            except psutil.TimeoutExpired:
                process.kill()
                process.wait(10)
            print(f"{state.name} is down.")
    try:
        if _clear_up():
            found = True
            print("What a killed run left is removed.")
    except MachineError:
        if _killed():  # otherwise there was nothing to remove that we know of
            raise
    for state in _states():
        shutil.rmtree(state, ignore_errors=True)
    if PODS.is_dir() and not any(PODS.iterdir()):
        PODS.rmdir()
    if not found:
        print("Nothing was up.")
    return 0


def status() -> int:
    """Says what is up, and where."""
    running = [state for state in _states() if keeper(state) is not None]
    for state in running:
        _show(load_lab(state.name), state)
    for state in _states():
        if (state / DOCKER).exists() and state not in running:
            print(f"{state.name} was killed, and its containers may still run: `make down` removes them.")
    if not running:
        commands = " or ".join(f"`make up-{name.split('-')[1]}`" for name in labs())
        print(f"Nothing is up. {commands} starts the services of that lab.")
    return 0


def keeper(state: Path) -> int | None:
    """The number of the process that holds a pod; ``None`` when nobody does. Its lock is the proof, not its number."""
    try:
        descriptor = os.open(state / "lock", os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.read(descriptor, 20) or 0) or None
    else:
        return None
    finally:
        os.close(descriptor)


def _states() -> list[Path]:
    return sorted(path for path in PODS.glob("*") if path.is_dir()) if PODS.is_dir() else []


def require_ports(ports: Iterable[int], hint: str = "Stop that program, then try again.") -> None:
    """Raises MachineError when a port is taken; what holds it for a run of ours that was killed is removed first."""
    ports = tuple(ports)
    if any(map(holder, ports)):
        with contextlib.suppress(MachineError):
            _clear_up()
    for port in ports:
        found = holder(port)
        if found is not None:
            raise MachineError(f"Port {port} is taken by {found}.", f"Nobody listens on {port}.", hint)


def _clear_up() -> int:
    """Removes what killed processes of ours left in the engine; gives how much it was. Raises MachineError."""
    killed = _killed()
    if not killed and wanted() == "local":  # the engine is to be left alone; and an examination sees nobody's locks
        return 0
    from autograder.pods.docker.engine import connect, sweep

    removed = sweep(connect())
    for state in killed:
        (state / DOCKER).unlink()
    return removed


def _killed() -> list[Path]:
    """The pods with containers whose keeper was killed."""
    return [state for state in _states() if (state / DOCKER).exists() and keeper(state) is None]


def _start_keeper(lab: Lab, submission: Path, state: Path, runtime: str) -> None:
    """Starts the keeper and shows what it says until the services are ready. Raises GraderError when they never are."""
    state.mkdir(parents=True, exist_ok=True)
    for name in ("ready.json", "says"):
        (state / name).unlink(missing_ok=True)
    with (state / "keeper.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "autograder.playground", lab.id, str(submission), runtime],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=ROOT,
        )
    shown = 0

    def look() -> bool | None:
        nonlocal shown
        says = (state / "says").read_text("utf-8") if (state / "says").is_file() else ""
        print(says[shown:], end="", flush=True)
        shown = len(says)
        return True if (state / "ready.json").is_file() else None

    try:
        polling(look, seconds=300, saw="", pause=0.05, give_up=lambda: process.poll() is not None)
    except BaseException as error:
        process.terminate()
        process.wait()
        log_end = (state / "keeper.log").read_text("utf-8", "replace")[-1500:]
        if keeper(state) is None:  # otherwise somebody else's `up` was quicker
            shutil.rmtree(state, ignore_errors=True)
        if isinstance(error, CourseError):
            raise GraderError("The services did not start.", "", f"What was said last:\n{log_end}") from None
        raise


def _show(lab: Lab, state: Path) -> None:
    try:
        ready = json.loads((state / "ready.json").read_text("utf-8"))
    except FileNotFoundError:
        print(f"{lab.id} is starting.")
        return
    print(f"{lab.id} is up ({ready['runtime']}), with the files of {ready['submission']}:")
    for title, address in ready["addresses"].items():
        print(f"  {title:<22} {address}")
    print("`make down` stops it.")


def keep(lab: Lab, submission: Path, runtime: str) -> int:
    """The keeper: starts the services, waits for the signal to stop, and leaves nothing running."""
    state = PODS / lab.id
    lock = os.open(state / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    stop = threading.Event()

    def interrupted(*_: Any) -> None:
        stop.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupted)

    def say(sentence: str) -> None:
        with (state / "says").open("a", encoding="utf-8") as stream:
            stream.write(sentence + "\n")

    play = importlib.import_module(f"{lab.checks}.play")
    with _pod(lab, submission, state, runtime, play.PORTS, say) as pod:
        try:
            addresses = play.start(pod, say)
            made = state / ".ready.json"
            ready = {"submission": str(submission), "runtime": pod.runtime, "addresses": addresses}
            made.write_text(json.dumps(ready), "utf-8")
            made.replace(state / "ready.json")
            stop.wait()
        except KeyboardInterrupt:
            return 0
    return 0


def _pod(
    lab: Lab, submission: Path, state: Path, runtime: str, ports: tuple[int, ...], say: Callable[[str], None]
) -> Pod:
    elsewhere = {"/submission": submission, "/models": submission / "models"}
    (state / DOCKER).touch()  # before there is a container
    pod = open_pod(runtime, lab.services, state / "pod", state / "lock", elsewhere, ports, say=say)
    if pod.runtime == "local":
        (state / DOCKER).unlink()
    return pod


if __name__ == "__main__":
    try:
        sys.exit(keep(read_lab(ROOT / "labs" / sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
    except CourseError as error:
        sys.exit(str(error))
