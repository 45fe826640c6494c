"""Where services run: a pod, its runtimes, and the sandbox around a student's programs."""

from autograder.pods.base import Pod, Running
from autograder.pods.folders import pod_folder
from autograder.pods.local import LocalPod, Walls, enter, walls
from autograder.pods.program import Finished, Limits, MiB, Program

__all__ = [
    "Finished",
    "Limits",
    "LocalPod",
    "MiB",
    "Pod",
    "Program",
    "Running",
    "Walls",
    "enter",
    "pod_folder",
    "walls",
]
