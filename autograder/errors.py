"""Everything that can go wrong, as one tree.

    CourseError                 says what was seen, what was expected, and what to do
    ├── UsageError              the command line or a file name is wrong           (exit 2)
    ├── SubmissionError         the student's files can't be taken in              (exit 2)
    ├── MachineError            this machine lacks something: a port, disk, Docker (exit 3)
    ├── GraderError             our own fault, or the infrastructure's             (exit 3)
    ├── CheckFailed             a check's finding about the student's work: verdict *failed*
    └── NotRun                  a check can't be run on this machine: verdict *not run*

Whose fault it is follows from the class: a grade is only ever lowered by ``CheckFailed``.
"""

from __future__ import annotations

__all__ = [
    "CheckFailed",
    "CourseError",
    "GraderError",
    "MachineError",
    "NotRun",
    "SubmissionError",
    "UsageError",
]


class CourseError(Exception):
    """An error that teaches: one sentence each for what was seen, what was expected, what to do.

    Args:
        saw: what happened, with the value that was seen.
        expected: what should have been there; may be empty when ``saw`` says it all.
        hint: the next step to take; may be empty.
    """

    exit_code = 3

    def __init__(self, saw: str, expected: str = "", hint: str = "") -> None:
        self.saw, self.expected, self.hint = saw, expected, hint
        super().__init__(" ".join(part for part in (saw, expected, hint) if part))


class UsageError(CourseError):
    """The command was called in a way that can't work."""

    exit_code = 2


class SubmissionError(CourseError):
    """A submission can't be taken in at all."""

    exit_code = 2


class MachineError(CourseError):
    """This machine lacks something that the command needs."""


class GraderError(CourseError):
    """The grader or its infrastructure failed: never the student's score."""


class CheckFailed(CourseError):
    """A check found a fault in the student's work."""


class NotRun(CourseError):
    """A check needs something that this machine does not have."""
