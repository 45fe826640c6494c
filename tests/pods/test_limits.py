"""Limits: each is kept, its report says which one it was, and nothing of what passed it is left."""

from __future__ import annotations

import subprocess

import psutil  # type: ignore[import-untyped]
import pytest

from autograder.pods import MiB, Pod

from .places import Grader
from .programs import eventually, marked, new_mark, printed, python, shell

FOR_EVER = "import time\nwhile True: time.sleep(1)"
STUBBORN = """
import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
for step in range(6):
    if os.fork() == 0:
        if step % 2: os.setsid()
        if step % 3 == 0 and os.fork(): os._exit(0)
        while True: time.sleep(1)
print("ready", flush=True)
while True: time.sleep(1)
"""


def test_a_program_that_never_ends_is_stopped_at_its_deadline(pod: Pod) -> None:
    mark = new_mark()
    finished = pod.run(python(FOR_EVER, mark, seconds=0.5))
    assert finished.stopped == "was still running after 0.5 seconds"
    assert marked(mark) == []


def test_time_in_which_the_machine_is_too_busy_does_not_count(pod: Pod) -> None:
    """Four that never pause share one processor: each waits three quarters of its time."""
    code = (
        "import os, sys\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "os.fork(), os.fork()\n"
        "while True: pass"
    )
    finished = pod.run(python(code, seconds=2))
    assert finished.stopped == "was still running after 2 seconds"
    assert 3 < finished.seconds < 60


def test_a_program_stands_back_as_far_as_it_is_told(pod: Pod) -> None:
    assert printed(pod, "import os; print(os.nice(0))") == "0"
    assert printed(pod, "import os; print(os.nice(0))", nice=5) == "5"


def test_what_ignores_every_signal_and_leaves_its_session_is_ended_all_the_same(pod: Pod) -> None:
    mark = new_mark()
    running = pod.start(python(STUBBORN, mark))
    assert eventually(lambda: "ready" in running.log() and len(marked(mark)) > 5)
    running.kill()
    assert marked(mark) == []


def test_what_a_program_leaves_in_the_background_ends_with_it(pod: Pod) -> None:
    mark = new_mark()
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {FOR_EVER!r}, '{mark}'])"
    assert pod.run(python(code, seconds=20)).ok
    assert marked(mark) == []


def test_output_without_end_is_stopped(pod: Pod) -> None:
    finished = pod.run(shell("yes", output=MiB))
    assert finished.stopped == "printed more than 1 MiB"
    assert len(finished.stdout) <= MiB


def test_of_long_output_the_beginning_and_the_end_are_kept(pod: Pod) -> None:
    finished = pod.run(python("print('first'); print('x' * 3_000_000); print('last')"))
    assert finished.ok
    assert finished.stdout.startswith(b"first\n")
    assert finished.stdout.endswith(b"\nlast\n")
    assert b"bytes left out" in finished.stdout
    assert len(finished.stdout) < MiB


def test_a_program_that_fills_the_memory_is_refused_or_stopped(pod: Pod) -> None:
    code = "kept = []\nwhile True: kept.append(bytearray(b'x') * (16 << 20))"
    finished = pod.run(python(code, memory=300 * MiB, seconds=30))
    assert b"MemoryError" in finished.stderr or finished.stopped == "used more than 300 MiB of memory"


def test_the_memory_of_all_its_processes_counts_together(pod: Pod) -> None:
    mark = new_mark()
    code = "import os, time\nos.fork(), os.fork()\nkept = bytearray(b'x') * (100 << 20)\ntime.sleep(60)"
    finished = pod.run(python(code, mark, memory=300 * MiB, seconds=30))
    assert finished.stopped == "used more than 300 MiB of memory"
    assert marked(mark) == []


def test_programs_side_by_side_share_their_pods_memory(grader: Grader) -> None:
    """Many programs at once get no more than one could; the largest of them is the one that ends."""
    grader.pod.share(300 * MiB)
    code = (
        "import sys, time\nkept = bytearray(b'x') * (int(sys.argv[1]) << 20)\nprint('full', flush=True)\ntime.sleep(60)"
    )
    small = [grader.pod.start(python(code, "60", memory=300 * MiB, seconds=60)) for _ in range(2)]
    assert eventually(lambda: all("full" in each.log() for each in small))
    finished = grader.pod.run(python(code, "200", memory=300 * MiB, seconds=60))
    assert finished.stopped == "used more than 300 MiB of memory together with what ran beside it"
    assert all(each.alive for each in small)
    assert grader.pod.run(python(code.replace("60)", "0)"), "60")).ok


def test_a_fork_bomb_is_bounded_and_ended(grader: Grader) -> None:
    mark = new_mark()
    code = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    running = grader.pod.start(python(code, mark, seconds=3, processes=40))
    most = 0

    def over() -> bool:
        nonlocal most
        most = max(most, len(marked(mark)))
        return not running.alive

    assert eventually(over, 60)
    assert running.finished().stopped == "was still running after 3 seconds"
    assert 1 < most <= 60
    assert marked(mark) == []


def test_a_limit_on_processes_counts_nothing_outside_of_the_pod(grader: Grader) -> None:
    """The grader may be a student at work, whose browser alone has hundreds of threads."""
    user = psutil.Process(grader.process.pid).uids().real
    others = [subprocess.Popen(["sleep", "60"], user=user) for _ in range(40)]
    finished = grader.pod.run(shell("true & wait; echo done", processes=20))
    for other in others:
        other.kill()
        other.wait()
    assert finished.stdout == b"done\n", finished.tail()


def test_a_file_that_grows_too_large_is_refused(pod: Pod) -> None:
    finished = pod.run(python("open('large', 'wb').write(bytes(3 << 20))", file_size=MiB))
    assert b"File too large" in finished.stderr
    assert not finished.ok


@pytest.mark.walled
def test_a_full_disk_is_the_pods_own(grader: Grader) -> None:
    code = (
        "import itertools\n"
        "for number in itertools.count():\n"
        "    with open(f'/tmp/{number}', 'wb') as stream: stream.write(bytes(64 << 20))"
    )
    finished = grader.pod.run(python(code, seconds=60))
    assert b"No space left on device" in finished.stderr
    assert printed(grader.pod, "open('still-room', 'w').write('x'); print('fine')") == "fine"


def test_processor_time_is_bounded(pod: Pod) -> None:
    finished = pod.run(python("while True: pass", cpu_seconds=1, seconds=60))
    assert not finished.ok
    assert finished.ending() == "was ended by signal 9"


def test_a_limit_can_not_be_raised_again(pod: Pod) -> None:
    code = (
        "import resource\n"
        "for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CPU, resource.RLIMIT_DATA):\n"
        "    try: resource.setrlimit(kind, (resource.RLIM_INFINITY,) * 2)\n"
        "    except (ValueError, OSError): continue\n"
        "    print(kind)"
    )
    assert printed(pod, code) == ""
