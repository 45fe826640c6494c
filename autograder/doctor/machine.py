"""What the doctor looks at, and what it says: a machine as the standard library sees it, and a finding."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from autograder.ports import Holder, holder

State = Literal["ok", "note", "problem"]

ROOT = Path(__file__).resolve().parents[2]
GIB = 2**30


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


def some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
