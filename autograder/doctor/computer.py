"""The computer itself: Python and its packages, tools, disk, memory, processor."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib import metadata, util

from autograder.doctor.machine import GIB, Finding, Machine, State, some

OLDEST_PYTHON = (3, 11)
# The environment takes 3 GiB; a lab's models and reports take little.
DISK_WITH_ENVIRONMENT, DISK_WITHOUT = 1 * GIB, 5 * GIB
MEMORY_NEEDED, MEMORY_COMFORTABLE = 2 * GIB, 4 * GIB


def python(machine: Machine) -> Finding:
    version = ".".join(map(str, machine.python))
    if machine.python < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        mend = machine.install(f"python{wanted} python{wanted}-venv", f"python{wanted}", f"python@{wanted}")
        return Finding("Python", "problem", f"This is Python {version}; the course needs {wanted} or later.", mend)
    return Finding("Python", "ok", f"Python {version}.")


def environment(machine: Machine) -> Iterator[Finding]:
    if not machine.venv.exists():
        yield Finding("Environment", "note", "Not made yet; make lab-01 makes it.", "make setup")
        if not machine.which("uv") and util.find_spec("ensurepip") is None:
            mend = machine.install("python3-venv", "python3-pip")
            yield Finding("Environment", "problem", "Python can't make environments here: ensurepip is missing.", mend)
        return
    code, said = machine.run(
        str(machine.venv / "bin" / "python"), "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"
    )
    if code:
        reason = said.splitlines()[-1] if said else f"exit code {code}"
        yield Finding("Environment", "problem", f"Its Python does not run: {reason}", "rm -rf .venv && make setup")
        return
    yield _packages(machine, said)


def _packages(machine: Machine, python: str) -> Finding:
    """Whether the environment's packages are those of the lock."""
    pinned: dict[str, set[str]] = {}
    everywhere = set()
    for line in machine.read(str(machine.root / "requirements.lock")).splitlines():
        if found := re.match(r"([A-Za-z0-9][\w.-]*)==([^\s;\\]+)\s*(;?)", line):
            name = _normal(found[1])
            pinned.setdefault(name, set()).add(found[2])
            if not found[3]:  # no marker: needed on every machine
                everywhere.add(name)
    folders = [str(path) for path in machine.venv.glob("lib/python*/site-packages")]
    installed = {_normal(known.metadata["Name"]): known.version for known in metadata.distributions(path=folders)}
    missing = sorted(everywhere - installed.keys())
    changed = sorted(name for name in pinned.keys() & installed.keys() if installed[name] not in pinned[name])
    if missing:
        said = f"Missing of requirements.lock: {some(missing)}."
        return Finding("Environment", "problem", said, "make setup")
    if changed:
        said = f"Other versions than in requirements.lock: {some(changed)}."
        return Finding("Environment", "note", said, "make setup")
    return Finding("Environment", "ok", f"Python {python}, {len(installed)} packages, in step with requirements.lock.")


def tools(machine: Machine) -> Iterator[Finding]:
    if not machine.which("make"):
        yield Finding(
            "Tools",
            "problem",
            "make is missing; every command of the course uses it.",
            machine.install("make"),
        )
    if not machine.which("git"):
        yield Finding("Tools", "note", "git is missing; it brings the course's updates.", machine.install("git"))
    if not machine.which("uv"):
        mend = "brew install uv" if machine.system == "Darwin" else "pipx install uv"
        yield Finding("Tools", "note", "uv is missing; with it the environment is made several times faster.", mend)
    if found := [name for name in ("make", "git", "uv") if machine.which(name)]:
        yield Finding("Tools", "ok", f"Found: {', '.join(found)}.")


def disk(machine: Machine) -> Finding:
    free = machine.free_disk(machine.root)
    needed = DISK_WITH_ENVIRONMENT if machine.venv.exists() else DISK_WITHOUT
    said = f"{free / GIB:.1f} GiB free"
    if free < needed:
        said += f"; the course needs {needed // GIB} GiB here."
        return Finding("Disk", "problem", said, "docker system prune" if machine.which("docker") else "")
    return Finding("Disk", "ok", f"{said}.")


def memory(machine: Machine) -> Finding:
    total = _total_memory(machine)
    if total is None:
        return Finding("Memory", "note", "How much there is can't be told on this system.")
    said = f"{total / GIB:.1f} GiB"
    if total >= MEMORY_COMFORTABLE:
        return Finding("Memory", "ok", f"{said}.")
    state: State = "problem" if total < MEMORY_NEEDED else "note"
    mend = (
        "In Windows: memory=8GB under [wsl2] in %UserProfile%\\.wslconfig, then wsl --shutdown" if machine.wsl else ""
    )
    return Finding(
        "Memory", state, f"{said}; training and serving together want {MEMORY_COMFORTABLE // GIB} GiB.", mend
    )


def _total_memory(machine: Machine) -> int | None:
    """Bytes of memory that this system, or the container that it is, may use."""
    if machine.system == "Darwin":
        code, said = machine.run("sysctl", "-n", "hw.memsize")
        return int(said) if code == 0 and said.isdigit() else None
    found = re.search(r"MemTotal:\s+(\d+) kB", machine.read("/proc/meminfo"))
    limits = [int(found[1]) * 1024] if found else []
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        if (limit := machine.read(path).strip()).isdigit():
            limits.append(int(limit))
    return min(limits, default=None)


def processor(machine: Machine) -> Iterator[Finding]:
    said = f"{machine.processor}, {_cores()} cores"
    flags = re.search(r"^flags\s*:.*$", machine.read("/proc/cpuinfo"), re.MULTILINE)
    if machine.system == "Darwin" and machine.run("sysctl", "-n", "sysctl.proc_translated") == (0, "1"):
        said = "This Python was built for Intel and runs translated, which TensorFlow can't."
        yield Finding("Processor", "problem", said, "brew install python@3.11")
    elif machine.processor in ("x86_64", "AMD64") and flags and " avx " not in f"{flags[0]} ":
        yield Finding("Processor", "problem", f"{said}, but no AVX instructions, which TensorFlow needs.")
    else:
        yield Finding("Processor", "ok", f"{said}.")
    if machine.processor in ("arm64", "aarch64"):
        name = "Apple silicon" if machine.system == "Darwin" else "ARM"
        said = f"{name}: TensorFlow Serving has no image for it; the embedded model server takes its place."
        yield Finding("Processor", "ok", said)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def wsl(machine: Machine) -> Iterator[Finding]:
    if not machine.wsl:
        return
    if re.match(r"/mnt/[a-z](/|$)", str(machine.root)):
        said = f"The course lies on a Windows disk ({machine.root}): slow, and without Linux's permissions."
        yield Finding("WSL", "note", said, f"cp -r {machine.root} ~/ && cd ~/{machine.root.name}")
    else:
        yield Finding("WSL", "ok", "The course lies on Linux's own disk.")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
