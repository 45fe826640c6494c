"""The process inside a pod that runs the checks of one submission.

``grading`` starts it behind the pod's outer walls and reads its events, one JSON object a line, from a pipe.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from autograder.checking.context import Context, begin
from autograder.job import Job, Wire
from autograder.pods import LocalPod, Pod, Seat, Walls
from autograder.pods.docker.pod import DockerPod, lines
from autograder.submission import fingerprint, take_in


def main() -> int:
    """Grades one submission; the exit code only says whether the worker itself got to its end."""
    told = lines(0)
    job = Job.read(next(told) if sys.argv[1] == "-" else sys.argv[1])
    wire = Wire(_private(job.seat.events))
    try:
        with open_pod(job.seat, wire, told) as pod:
            intake = take_in(job.seat.submission, pod.outside("/submission"), job.files)
            pod.grant("/submission")
            for note in intake.notes:
                wire.send(note=note)
            handed_in = fingerprint(pod.outside("/submission"), job.files)
            seed = int(handed_in[:8], 16) if job.seed is None else job.seed
            wire.send(seed=seed)
            begun = begin(job.checks, pod, intake, seed)
            from autograder.checking import plugin  # and with it pytest: what was begun does not wait for that

            context = Context(pod, intake, seed, lambda service, text: wire.send(version=(service, text)), begun)
            plugin.run(job.checks, job.lab, job.visible, wire.send, context)
        wire.send(done=True)
    except Exception:
        import traceback

        wire.send(trace=traceback.format_exc())
        return 1
    return 0


def open_pod(seat: Seat, wire: Wire, told: Iterator[bytes]) -> Pod:
    """The pod that this process was started in; ``told`` is what its steward says, where there is one."""
    if seat.runtime == "docker":
        assert seat.user is not None
        return DockerPod(seat.folder, seat.user, wire.line, told)
    return LocalPod(seat.folder, Walls(seat.namespaces, seat.user))


def _private(descriptor: int) -> int:
    """A descriptor for events alone: what something prints goes to standard error."""
    if descriptor != 1:
        return descriptor
    own = os.dup(descriptor)
    os.dup2(2, 1)
    return own


if __name__ == "__main__":
    sys.exit(main())
