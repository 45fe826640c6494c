"""What runs in a pod, as data: a program, its limits, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autograder.pods.building import Built

MiB = 1 << 20
POD_MEMORY = 6144 * MiB  # of all of a student's programs that run at once: two at their limit

# What every program in a pod finds in its environment, whichever runtime.
ENVIRONMENT = MappingProxyType(
    {
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "CUDA_VISIBLE_DEVICES": "-1",
    }
)


@dataclass(frozen=True)
class Limits:
    """How much of the machine one program may use.

    Attributes:
        seconds: of wall-clock time in which the machine lets it run; ``None`` for a service, which runs until it is
            stopped.
        cpu_seconds: of processor time, for each of its processes.
        memory: bytes of memory, for all of its processes together.
        processes: processes and threads of the submission's user.
        file_size: bytes of the largest file that it may write.
        open_files: descriptors for each process.
        output: bytes that it may print before it is stopped.
        nice: how far it stands back where programs wait for a processor: 0 to 19.
    """

    seconds: float | None = 30.0
    cpu_seconds: int = 120
    memory: int = 3072 * MiB
    processes: int = 512
    file_size: int = 256 * MiB
    open_files: int = 4096
    output: int = 8 * MiB
    nice: int = 0

    def rlimits(self) -> dict[str, int]:
        """The limits that the kernel keeps for each process, by the names of ``RLIMIT_*``."""
        return {
            "cpu": self.cpu_seconds,
            "data": self.memory,
            "nproc": self.processes,
            "fsize": self.file_size,
            "nofile": self.open_files,
            "core": 0,
        }


# Of a model server: it runs until it is stopped.
SERVICE = Limits(seconds=None, cpu_seconds=900)


@dataclass(frozen=True)
class Program:
    """A program to run in a pod.

    Attributes:
        argv: the command; ``python`` and ``tensorflow_model_server`` are found by name.
        stdin: what it reads from standard input.
        env: variables beside the pod's own; nothing of the grader's environment is passed on.
        cwd: the folder it runs in, as the pod names it.
        limits: how much of the machine it may use.
        service: the real system that it is; where there are containers it runs in one of that system's image.
        ours: a program of the course's own, which the student's programs may not disturb.
        built: the student's image that it runs in. A command that is not in there ends with 127, as in a container.
    """

    argv: tuple[str, ...]
    stdin: bytes = b""
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "/submission"
    limits: Limits = Limits()
    service: str = ""
    ours: bool = False
    built: Built | None = None

    def within(self, **changes: Any) -> Program:
        """The same program with other limits."""
        return replace(self, limits=replace(self.limits, **changes))


@dataclass(frozen=True)
class Finished:
    """How a program ended.

    Attributes:
        argv: the command, as it was given.
        exit_code: its exit status, or 128 + the signal that ended it.
        stdout: what it printed, cut to the limit.
        stderr: likewise.
        stopped: why the pod ended it, as a clause ("was still running after 30 seconds"); empty if it ended itself.
        seconds: how long it ran.
    """

    argv: tuple[str, ...]
    exit_code: int
    stdout: bytes
    stderr: bytes
    stopped: str
    seconds: float

    @property
    def ok(self) -> bool:
        return self.exit_code == 0 and not self.stopped

    def ending(self) -> str:
        """How it ended, as a clause for a sentence: "ended with exit code 1"."""
        if self.stopped:
            return self.stopped
        if 128 < self.exit_code <= 128 + 64:
            return f"was ended by signal {self.exit_code - 128}"
        return f"ended with exit code {self.exit_code}"

    def tail(self, lines: int = 12) -> str:
        """The last lines that it printed: to standard error, and before them a few from standard output."""
        said, errors = (text.strip().decode("utf-8", "replace").splitlines() for text in (self.stdout, self.stderr))
        few = min(len(said), max(lines // 3, lines - len(errors)))
        shown = said[len(said) - few :] + errors[-(lines - few) or len(errors) :]
        return "\n".join(line[:300] for line in shown)
