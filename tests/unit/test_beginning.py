"""What a lab's checks begin with, and what its pod is made ready for."""

from __future__ import annotations

from typing import cast

import pytest

from autograder.grading import first
from autograder.job import Job
from autograder.lab import labs, load_lab
from autograder.pods import Pod, Program, Seat
from autograder.pods.docker.pod import described
from autograder.services.tfserving import start_student_server

FIRST = {"lab-01": start_student_server}  # what starts the service that a lab names as its first


@pytest.mark.parametrize("name", labs())
def test_a_pod_is_made_ready_for_just_what_the_checks_start(name: str) -> None:
    """Else its container would be made for nothing."""
    lab, started = load_lab(name), list[Program]()

    class Notes:
        def start(self, program: Program) -> None:
            started.append(program)

    if lab.short in FIRST:
        FIRST[lab.short](cast(Pod, Notes()))
    program = first(lab)
    assert [described(found, 0) for found in started] == ([described(program, 0)] if program else [])


def test_a_job_survives_its_line() -> None:
    lab = load_lab("lab-01")
    seat = Seat("docker", lab.folder, lab.folder / "é", True, None, 1)
    job = Job(lab.short, lab.checks, lab.files, seat, 7, False)
    assert Job.read(job.line()) == job
    assert "\n" not in job.line()
