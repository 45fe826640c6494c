"""Files of a pod: how they get in and out, and what no name or link can do to the grader that reads them."""

from __future__ import annotations

import os

import pytest

from autograder.pods import Pod

from .programs import printed, python, write


def test_a_file_that_the_grader_writes_is_read_in_the_pod(pod: Pod) -> None:
    write(pod, "/course/given.txt", b"given")
    assert printed(pod, "import sys; print(open(sys.argv[1]).read())", pod.inside("/course/given.txt")) == "given"


def test_a_file_that_a_program_writes_is_read_by_the_grader(pod: Pod) -> None:
    printed(pod, "open('made.txt', 'w').write('made')")
    assert pod.read("/submission/made.txt") == b"made"


def test_no_more_is_read_than_was_asked_for(pod: Pod) -> None:
    printed(pod, "open('large', 'w').write('x' * 100_000)")
    assert pod.read("/submission/large", most=10) == b"x" * 10


@pytest.mark.walled
def test_the_courses_files_are_not_for_programs_to_change(pod: Pod) -> None:
    write(pod, "/course/fixed.txt", b"fixed")
    finished = pod.run(python("import sys; open(sys.argv[1], 'w')", pod.inside("/course/fixed.txt")))
    if finished.ok:  # files of one user can't be kept apart: then the report says that there was only one
        assert "the grader's user, without privileges" in pod.isolation
    else:
        assert pod.read("/course/fixed.txt") == b"fixed"
        assert "another user, without privileges" in pod.isolation


def test_a_folder_that_was_granted_can_be_written(pod: Pod) -> None:
    write(pod, "/course/granted.txt", b"before")
    pod.grant("/course/granted.txt")
    printed(pod, "import sys; open(sys.argv[1], 'w').write('after')", pod.inside("/course/granted.txt"))
    assert pod.read("/course/granted.txt") == b"after"


def test_a_link_is_not_followed_when_the_grader_reads(pod: Pod) -> None:
    printed(pod, "import os; os.symlink('/etc/passwd', 'link')")
    with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
        pod.read("/submission/link")


def test_a_link_in_the_way_is_not_followed_either(pod: Pod) -> None:
    printed(pod, "import os; os.symlink('/etc', 'folder')")
    with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
        pod.read("/submission/folder/passwd")


def test_a_named_pipe_does_not_hold_the_grader_up(pod: Pod) -> None:
    printed(pod, "import os; os.mkfifo('pipe')")
    assert pod.read("/submission/pipe") == b""


def test_granting_a_link_gives_nothing_away(pod: Pod) -> None:
    write(pod, "/course/kept.txt", b"kept")
    printed(pod, "import os, sys; os.symlink(sys.argv[1], 'to-be-granted')", pod.inside("/course/kept.txt"))
    descriptor = pod.open("/course/kept.txt")
    owner = os.fstat(descriptor).st_uid
    pod.grant("/submission/to-be-granted")
    assert os.fstat(descriptor).st_uid == owner
    os.close(descriptor)
