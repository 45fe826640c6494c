"""What this machine has of what the course needs, and the command that mends what is missing.

    python3 -m autograder.doctor        (or `make doctor`)

Needs nothing but the standard library, as it runs where the environment has not been made. A *problem* keeps
`make lab-01` from running, a *note* is about later labs or comfort; only problems change the exit code.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path
from typing import Literal, TextIO

from autograder.ports import Holder, holder

__all__ = ["Finding", "Machine", "examine", "main", "print_findings"]

State = Literal["ok", "note", "problem"]

ROOT = Path(__file__).resolve().parent.parent
GIB = 2**30
OLDEST_PYTHON = (3, 11)
# The environment takes 3 GiB; a lab's models and reports take little.
DISK_WITH_ENVIRONMENT, DISK_WITHOUT = 1 * GIB, 5 * GIB
MEMORY_NEEDED, MEMORY_COMFORTABLE = 2 * GIB, 4 * GIB
PORTS = {
    8500: "TensorFlow Serving, gRPC",
    8501: "TensorFlow Serving, REST",
    8000: "your API",
    8080: "nginx",
    9090: "Prometheus",
    3000: "Grafana",
}
LAB_01_PORTS = (8500, 8501)
# What lab 01 runs on in Docker: a public image, or what `make images` builds in its place.
IMAGES = (("model-deployment/python",), ("tensorflow/serving", "model-deployment/tfserving"))
# The namespaces of a pod: mount, uts, ipc, pid, net; and user, which everyone but root needs first.
NAMESPACES, USER_NAMESPACE = 0x6C020000, 0x10000000


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: what, in a word.
        state: ``problem`` when lab 01 can't run without it, ``note`` when something else can't.
        said: one sentence.
        mend: the command that mends it; empty when there is nothing to mend or no one command does.
    """

    topic: str
    state: State
    said: str
    mend: str = ""


@dataclass(frozen=True)
class Machine:
    """The outside world, in one place so that tests can swap it: programs, files, numbers of this machine."""

    system: str = field(default_factory=platform.system)
    processor: str = field(default_factory=platform.machine)
    python: tuple[int, ...] = field(default_factory=lambda: tuple(sys.version_info[:3]))
    user: int = field(default_factory=os.getuid)
    root: Path = ROOT
    free_disk: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
    holder: Callable[[int], Holder | None] = holder

    def which(self, name: str) -> str | None:
        """Where a program is; system programs too, which a user's PATH may lack."""
        return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/local/sbin")

    def run(self, *argv: str) -> tuple[int, str]:
        """(exit code, what it printed) of a program; 127 and a reason when it can't be run in time."""
        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=10
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return 127, str(error)
        return done.returncode, (done.stdout + done.stderr).strip()

    def read(self, path: str) -> str:
        """A file's text; empty when there is none to read."""
        try:
            return Path(path).read_text(errors="replace")
        except OSError:
            return ""

    @property
    def wsl(self) -> bool:
        return "microsoft" in self.read("/proc/version").lower()

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    def install(self, apt: str, dnf: str = "", brew: str = "") -> str:
        """The command that installs a package here; empty when this machine has none of the three."""
        sudo = "" if self.user == 0 else "sudo "
        if self.system == "Darwin":
            return f"brew install {brew or apt}"
        if self.which("apt-get"):
            return f"{sudo}apt-get update && {sudo}apt-get install -y {apt}"
        if self.which("dnf"):
            return f"{sudo}dnf install -y {dnf or apt}"
        return ""


def examine(machine: Machine | None = None) -> list[Finding]:
    """Everything that was looked at, the needed first. Takes a second or two; changes nothing."""
    machine = machine or Machine()
    sandbox = _sandbox(machine)
    return [
        _python(machine),
        *_environment(machine),
        *_tools(machine),
        _disk(machine),
        _memory(machine),
        *_processor(machine),
        sandbox,
        *_ports(machine, needed=LAB_01_PORTS if sandbox.state != "ok" else ()),
        *_docker(machine),
        _server(machine, "nginx", "labs 03 and 04", "-v", "nginx-light", "nginx"),
        _server(machine, "prometheus", "lab 04", "--version", "prometheus", "golang-github-prometheus"),
        *_wsl(machine),
    ]


def _python(machine: Machine) -> Finding:
    version = ".".join(map(str, machine.python))
    if machine.python < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        mend = machine.install(f"python{wanted} python{wanted}-venv", f"python{wanted}", f"python@{wanted}")
        return Finding("Python", "problem", f"This is Python {version}; the course needs {wanted} or later.", mend)
    return Finding("Python", "ok", f"Python {version}.")


def _environment(machine: Machine) -> Iterator[Finding]:
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
        said = f"Missing of requirements.lock: {_some(missing)}."
        return Finding("Environment", "problem", said, "make setup")
    if changed:
        said = f"Other versions than in requirements.lock: {_some(changed)}."
        return Finding("Environment", "note", said, "make setup")
    return Finding("Environment", "ok", f"Python {python}, {len(installed)} packages, in step with requirements.lock.")


def _tools(machine: Machine) -> Iterator[Finding]:
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


def _disk(machine: Machine) -> Finding:
    free = machine.free_disk(machine.root)
    needed = DISK_WITH_ENVIRONMENT if machine.venv.exists() else DISK_WITHOUT
    said = f"{free / GIB:.1f} GiB free"
    if free < needed:
        said += f"; the course needs {needed // GIB} GiB here."
        return Finding("Disk", "problem", said, "docker system prune" if machine.which("docker") else "")
    return Finding("Disk", "ok", f"{said}.")


def _memory(machine: Machine) -> Finding:
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


def _processor(machine: Machine) -> Iterator[Finding]:
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


def _sandbox(machine: Machine) -> Finding:
    if machine.system != "Linux":
        said = "No namespaces on this system: other people's work is graded only in Docker."
        return Finding("Sandbox", "note", said)
    flags = NAMESPACES if machine.user == 0 else NAMESPACES | USER_NAMESPACE
    trial = f"import ctypes; raise SystemExit(ctypes.CDLL(None).unshare({flags}) and 1)"
    if machine.run(sys.executable, "-I", "-S", "-c", trial)[0] == 0:
        return Finding("Sandbox", "ok", "Namespaces can be made: student programs run behind walls.")
    sudo = "" if machine.user == 0 else "sudo "
    said, mend = "Namespaces can't be made: other people's work is refused.", ""
    for switch, off, value in (
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
        ("kernel/unprivileged_userns_clone", "0", "1"),
        ("user/max_user_namespaces", "0", "15000"),
    ):
        if machine.read(f"/proc/sys/{switch}").strip() == off:
            said = f"Namespaces are switched off ({switch}): other people's work is refused."
            mend = f"{sudo}sysctl -w {switch.replace('/', '.')}={value}"
            break
    return Finding("Sandbox", "note", said, mend)


def _ports(machine: Machine, needed: tuple[int, ...]) -> Iterator[Finding]:
    free = []
    for port, service in PORTS.items():
        held = machine.holder(port)
        if held is None:
            free.append(str(port))
            continue
        if "autograder" in held.command:
            mend = "make down"
        elif held.yours:
            mend = f"kill {held.pid}"
        else:
            mend = f"sudo ss -ltnp 'sport = :{port}'" if machine.system == "Linux" else f"sudo lsof -iTCP:{port}"
        state: State = "problem" if port in needed else "note"
        yield Finding("Ports", state, f"Port {port} ({service}) is taken by {held}.", mend)
    if free:
        yield Finding("Ports", "ok", f"Free: {', '.join(free)}.")


def _docker(machine: Machine) -> Iterator[Finding]:
    if not machine.which("docker"):
        mend = machine.install("docker.io", "moby-engine", "--cask docker")
        yield Finding("Docker", "note", "Not found; the labs run without it, on the same systems as processes.", mend)
        return
    code, said = machine.run("docker", "version", "--format", "{{.Server.Version}}")
    if code:
        yield Finding("Docker", "note", *_silent_engine(machine, said))
        return
    yield Finding("Docker", "ok", f"Engine {said.splitlines()[0]} answers.")
    code, said = machine.run("docker", "image", "ls", "--format", "{{.Repository}}")
    here = set(said.split())
    missing = sorted(names[0] for names in IMAGES if here.isdisjoint(names)) if code == 0 else []
    if missing:
        said = f"Images not here yet, so labs run as processes: {_some(missing)}."
        yield Finding("Docker", "note", said, "make images")


def _silent_engine(machine: Machine, said: str) -> tuple[str, str]:
    """(what is wrong, the command that mends it) of an engine that does not answer."""
    if "permission denied" in said.lower():
        mend = 'sudo usermod -aG docker "$USER" && newgrp docker'
        return "Its engine runs, but this user may not talk to it.", mend
    if machine.system == "Darwin":
        return "Installed, but its engine does not answer.", "open -a Docker"
    if machine.wsl:
        said = "Its engine does not answer: start Docker Desktop and switch on its WSL integration."
        return said, "sudo service docker start"
    if not machine.which("dockerd"):
        return "The client is here, but no engine answers.", machine.install("docker.io", "moby-engine")
    sudo = "" if machine.user == 0 else "sudo "
    systemd = Path("/run/systemd/system").exists()
    start = f"{sudo}systemctl start docker" if systemd else f"{sudo}service docker start"
    return "Installed, but its engine does not answer.", start


def _server(machine: Machine, name: str, labs: str, flag: str, apt: str, dnf: str) -> Finding:
    path = machine.which(name)
    if path:
        found = re.search(r"\d+(\.\d+)+", machine.run(path, flag)[1])
        return Finding(name, "ok", f"{found[0] if found else 'Found'}, for {labs} without Docker.")
    mend = machine.install(apt, dnf, name)
    if mend and Path("/run/systemd/system").exists():  # the package starts its own, on a port that the labs want
        mend += f" && sudo systemctl disable --now {name}"
    return Finding(name, "note", f"Not found; needed for {labs} without Docker.", mend)


def _wsl(machine: Machine) -> Iterator[Finding]:
    if not machine.wsl:
        return
    if re.match(r"/mnt/[a-z](/|$)", str(machine.root)):
        said = f"The course lies on a Windows disk ({machine.root}): slow, and without Linux's permissions."
        yield Finding("WSL", "note", said, f"cp -r {machine.root} ~/ && cd ~/{machine.root.name}")
    else:
        yield Finding("WSL", "ok", "The course lies on Linux's own disk.")


def print_findings(findings: list[Finding], stream: TextIO | None = None) -> None:
    """A line for each finding, with the command that mends it below; no colours needed to read it."""
    stream = stream or sys.stdout
    colours = stream.isatty() and not os.environ.get("NO_COLOR")
    marks = {"ok": ("✓", "32"), "note": ("•", "33"), "problem": ("✗", "1;31")}
    try:
        "✓•✗→".encode(stream.encoding or "utf-8")
        arrow = "→"
    except UnicodeEncodeError:
        marks, arrow = {"ok": ("+", "32"), "note": ("*", "33"), "problem": ("x", "1;31")}, "->"
    width = min(max(shutil.get_terminal_size().columns, 40), 100)
    topics = max((len(finding.topic) for finding in findings), default=0)
    indent = " " * (topics + 4)
    for finding in findings:
        mark, colour = marks[finding.state]
        lead = f"{mark} {finding.topic:<{topics}}  "
        text = textwrap.fill(finding.said, width, initial_indent=lead, subsequent_indent=indent)
        if colours:
            text = text.replace(mark, f"\x1b[{colour}m{mark}\x1b[0m", 1)
        print(text, file=stream)
        if finding.mend:
            print(f"{indent}{arrow} {finding.mend}", file=stream)
    problems = sum(finding.state == "problem" for finding in findings)
    verdict = f"{problems} to mend before make lab-01 can run." if problems else "make lab-01 can run here."
    print(f"\n{verdict}", file=stream, flush=True)


def main() -> int:
    """Look, print, and give the exit code: 0, or 3 when something that lab 01 needs is missing."""
    findings = examine()
    print_findings(findings)
    return 3 if any(finding.state == "problem" for finding in findings) else 0


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


if __name__ == "__main__":
    sys.exit(main())
