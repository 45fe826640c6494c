"""Where services run: a pod, its runtimes, and the sandbox around a student's programs."""

from autograder.pods.base import Pod, Running
from autograder.pods.building import Build, Built
from autograder.pods.choose import RUNTIMES, choose, open_pod, wanted
from autograder.pods.folders import pod_folder
from autograder.pods.local import LocalPod, LocalRuntime, Walls, enter, walls
from autograder.pods.program import SERVICE, Finished, Limits, MiB, Program
from autograder.pods.runtime import Runtime, Seat, Session

__all__ = [
    "RUNTIMES",
    "SERVICE",
    "Build",
    "Built",
    "Finished",
    "Limits",
    "LocalPod",
    "LocalRuntime",
    "MiB",
    "Pod",
    "Program",
    "Running",
    "Runtime",
    "Seat",
    "Session",
    "Walls",
    "choose",
    "enter",
    "open_pod",
    "pod_folder",
    "walls",
    "wanted",
]
