"""One grading run, as its checks see it, and what is set going for them before they are even collected."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from autograder.pods import Pod
from autograder.schedule import Later
from autograder.submission import Intake


@dataclass(frozen=True)
class Context:
    """One grading run, as its checks see it.

    Attributes:
        pod: where everything runs.
        intake: the names of the submission's files.
        seed: what models, inputs, numbers and names are made from.
        tell_version: tells the report what this run is on, by service.
        begun: what ``begin`` set going.
    """

    pod: Pod
    intake: Intake
    seed: int
    tell_version: Callable[[str, str], None]
    begun: Later[Any]


def begin(checks: str, pod: Pod, intake: Intake, seed: int) -> Later[Any]:
    """Sets going what a lab's checks will wait for longest: what ``begin`` in the module ``beginning`` starts.

    pytest's import and its collection take longer than that. What goes wrong here is for the checks to say.
    """
    name = f"{checks}.beginning"
    if importlib.util.find_spec(name) is None:
        return Later(lambda: None)
    begun: Later[Any] = Later(lambda: importlib.import_module(name).begin(pod, intake, seed))
    with contextlib.suppress(Exception):
        begun.get()
    return begun
