"""Running the programs that a student handed in, and reading what they print."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from autograder.pods import Finished, Limits, Pod, Program, Running
from autograder.submission import Intake
from autograder.waiting import fail


@dataclass
class Programs:
    """Runs the student's programs in the pod.

    Attributes:
        pod: where.
        intake: the submission that they are of.
        nice: how far one that is run to its end, without limits of its own, stands back for the others.
    """

    pod: Pod
    intake: Intake
    nice: int = 0

    def require(self, name: str) -> None:
        """Fails the check when a file was not handed in."""
        if name in self.intake.files:
            return
        close = get_close_matches(name, self.intake.files, n=1, cutoff=0.6)
        fail(
            f"There is no {name} in the submission" + (f"; there is a {close[0]}." if close else "."),
            f"A file named exactly {name}.",
            f"Rename it: `mv {close[0]} {name}`." if close else "",
        )

    def python(
        self, *argv: str, stdin: bytes = b"", limits: Limits | None = None, env: Mapping[str, str] | None = None
    ) -> Finished:
        """Runs a Python program of the submission to its end; ``env`` comes beside the pod's own environment."""
        self.require(argv[0])
        limits = limits or Limits(nice=self.nice)
        return self.pod.run(Program(("python", *argv), stdin=stdin, limits=limits, env=env or {}))

    def start(self, *argv: str, limits: Limits) -> Running:
        """Starts a Python program of the submission; comes back at once."""
        self.require(argv[0])
        return self.pod.start(Program(("python", *argv), limits=limits))

    def json(
        self, *argv: str, stdin: bytes = b"", limits: Limits | None = None, env: Mapping[str, str] | None = None
    ) -> tuple[Finished, dict[str, Any]]:
        """The same for one that prints a JSON object. Fails the check when it prints anything else."""
        finished = self.python(*argv, stdin=stdin, limits=limits, env=env)
        command = shown(argv)
        if finished.stopped:
            fail(
                f"`{command}` {finished.stopped}.",
                "It ends by itself, with one JSON object on standard output.",
            )
        try:
            found = json.loads(finished.stdout)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            said = finished.tail(6)
            fail(
                f"`{command}` {finished.ending()} and printed no JSON object." + (f" It said:\n{said}" if said else ""),
                "One JSON object on standard output, and nothing else there.",
            )
        return finished, found


def shown(argv: tuple[str, ...]) -> str:
    """A command as a student would type it."""
    return " ".join(("python", *argv))
