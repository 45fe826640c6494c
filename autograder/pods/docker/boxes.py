"""What each container of a pod may and may not, as arguments of Docker: the worker's, the programs', a service's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autograder.pods.docker.pod import AGENT, SOCKET
from autograder.pods.docker.talk import Start
from autograder.pods.program import POD_MEMORY, MiB

FIRST_USER, USERS = 20_000, 1000  # as in the recipe of the image for Python
VOLUMES = {"submission": "256m", "models": "768m", "course": "256m", "tmp": "512m"}
SHARED_MEMORY = 256 * MiB
YARD_MEMORY = POD_MEMORY + 2048 * MiB  # and what they write into the volumes, which is memory too
WORKER_MEMORY = 3072 * MiB
GATE_MEMORY = 128 * MiB
PROCESSES = 1024
STEP_PROCESSES = 256
UNPACK = 'read -r size && head -c "$size" | tar -xC / && exec python -P -m "$0" -'
HOLD = 'read -r go && exec "$@" </dev/null'

Mounts = list[Any]  # the pod's folders, as the engine is told of them


def worker(mounts: Mounts, module: str, socket: str) -> dict[str, Any]:
    """The grader's own: it reads and gives away the pod's files, whoever owns them, and has no network but its own."""
    return {
        "command": ["sh", "-c", UNPACK, module],
        "network_mode": "none",
        "environment": {
            SOCKET: socket,
            "PYTHONPATH": "/grader",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYDANTIC_DISABLE_PLUGINS": "__all__",  # none is wanted, and looking for some takes time
            "HOME": "/tmp",
            "LANG": "C.UTF-8",
        },
        "working_dir": "/grader",
        "tmpfs": {"/grader": "size=512m"},  # hundreds of small files, which take long on a disk
        "user": "0:0",
        "stdin_open": True,
        "mounts": mounts,
        "cap_drop": ["ALL"],
        "cap_add": ["CHOWN", "DAC_OVERRIDE", "FOWNER"],
        "security_opt": ["no-new-privileges"],
        "mem_limit": WORKER_MEMORY,
        "memswap_limit": WORKER_MEMORY,
        "pids_limit": PROCESSES,
        "log_config": _log(),
        "hostname": "pod",
    }


def yard(mounts: Mounts, user: str, namespace: str, cores: int, socket: str) -> dict[str, Any]:
    """For student programs, one after another and side by side."""
    return _student(mounts, user, namespace, cores, YARD_MEMORY, PROCESSES) | {
        "command": ["python", "-I", "-S", f"{AGENT}/agent.py", f"{AGENT}/{socket}"],
        "working_dir": "/tmp",
    }


def service(
    start: Start, mounts: Mounts, user: str, namespace: str, cores: int, *, held: bool = False
) -> dict[str, Any]:
    """For a program that is a service. Its number 1 is Docker's init, so that signals mean what they mean elsewhere.

    One that is ``held`` begins when a line comes to its standard input.
    """
    from docker.types import Ulimit

    limits = start.limits
    return _student(mounts, user, namespace, cores, limits.memory, limits.processes + 16) | {
        "entrypoint": ["sh", "-c", HOLD, "sh", start.argv[0]] if held else [start.argv[0]],
        "command": list(start.argv[1:]),
        "stdin_open": held,
        "environment": start.env,
        "working_dir": start.cwd,
        "init": True,
        "healthcheck": {"test": ["NONE"]},  # a check asks when it wants to know
        "ulimits": [Ulimit(name=name, soft=value, hard=value) for name, value in limits.rlimits().items()],
    }


def gate(program: Path, user: str, behind: int, ports: list[int]) -> dict[str, Any]:
    """The container that a playground's services share the network of; this machine alone reaches its ports."""
    from docker.types import Mount

    return {
        "command": ["python", "-I", "-S", "/gate.py", *(f"{port + behind}:{port}" for port in ports)],
        "network_mode": "bridge",
        "ports": {f"{port + behind}/tcp": ("127.0.0.1", port) for port in ports},
        "mounts": [Mount("/gate.py", str(program), type="bind", read_only=True)],
        "user": user,
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "mem_limit": GATE_MEMORY,
        "memswap_limit": GATE_MEMORY,
        "pids_limit": 64,
        "log_config": _log(),
    }


def step(command: list[str], memory: int, file_size: int, cores: int) -> dict[str, Any]:
    """For a RUN of a student's Dockerfile: root in there, to install and to own, but no network and nothing of ours."""
    from docker.types import Ulimit

    return {
        "command": command,
        "entrypoint": [],
        "network_mode": "none",
        "healthcheck": {"test": ["NONE"]},
        "cap_drop": ["ALL"],
        "cap_add": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID"],
        "security_opt": ["no-new-privileges"],
        "mem_limit": memory,
        "memswap_limit": memory,
        "nano_cpus": min(cores, 2) * 1_000_000_000,
        "pids_limit": STEP_PROCESSES,
        "ulimits": [
            Ulimit(name=name, soft=value, hard=value)
            for name, value in (("fsize", file_size), ("nofile", 4096), ("core", 0))
        ],
        "ipc_mode": "private",
        "log_config": _log(),
    }


def _student(mounts: Mounts, user: str, namespace: str, cores: int, memory: int, processes: int) -> dict[str, Any]:
    """What holds wherever a student's code runs."""
    return {
        "network_mode": f"container:{namespace}",
        "user": user,
        "read_only": True,
        "mounts": mounts,
        "shm_size": SHARED_MEMORY,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "mem_limit": memory,
        "memswap_limit": memory,
        "nano_cpus": min(cores, 2) * 1_000_000_000,
        "pids_limit": processes,
        "ipc_mode": "private",
        "log_config": _log(),
    }


def _log() -> Any:
    """The engine keeps no copy of what is printed: we read it as it comes."""
    from docker.types import LogConfig

    return LogConfig(type="none")
