"""What this machine has of what the course needs, and the command that mends what is missing.

    python3 -m autograder.doctor        (or `make doctor`)

Needs nothing but the standard library, as it runs where the environment has not been made. A *problem* keeps
`make lab-01` from running, a *note* is about later labs or comfort; only problems change the exit code.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from typing import TextIO

from autograder.doctor import computer, systems
from autograder.doctor.machine import GIB, ROOT, Finding, Machine

__all__ = ["GIB", "ROOT", "Finding", "Machine", "examine", "main", "print_findings"]


def examine(machine: Machine | None = None) -> list[Finding]:
    """Everything that was looked at, the needed first. Takes a second or two; changes nothing."""
    machine = machine or Machine()
    walls = systems.sandbox(machine)
    return [
        computer.python(machine),
        *computer.environment(machine),
        *computer.tools(machine),
        computer.disk(machine),
        computer.memory(machine),
        *computer.processor(machine),
        walls,
        *systems.ports(machine, needed=systems.LAB_01_PORTS if walls.state != "ok" else ()),
        *systems.docker(machine),
        systems.server(machine, "nginx", "labs 03 and 04", "-v", "nginx-light", "nginx"),
        systems.server(machine, "prometheus", "lab 04", "--version", "prometheus", "golang-github-prometheus"),
        *computer.wsl(machine),
    ]


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
