"""A program in a pod: it starts, sees what it is given and nothing else, and ends as it ends."""

from __future__ import annotations

import json
import re

import pytest

from autograder.errors import GraderError
from autograder.pods import Finished, Pod, Program

from .places import SECRET
from .programs import eventually, marked, new_mark, printed, python, shell


def test_a_program_that_ends_well_is_ok(pod: Pod) -> None:
    finished = pod.run(python("print('hello')"))
    assert finished.ok
    assert finished.stdout == b"hello\n"
    assert finished.ending() == "ended with exit code 0"


@pytest.mark.parametrize("code", [1, 3, 125, 127])
def test_an_exit_code_is_the_programs_own(pod: Pod, code: int) -> None:
    finished = pod.run(shell(f"exit {code}"))
    assert (finished.exit_code, finished.stopped) == (code, "")


def test_a_program_that_kills_itself_has_the_exit_code_that_a_shell_gives(pod: Pod) -> None:
    assert pod.run(python("import os; os.abort()")).exit_code == 128 + 6


def test_a_program_that_can_not_be_started_is_our_fault_and_not_its_own(pod: Pod) -> None:
    with pytest.raises(GraderError, match="could not be started"):
        pod.run(Program(("there-is-no-such-program",)))


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (0, "ended with exit code 0"),
        (137, "was ended by signal 9"),
        (255, "ended with exit code 255"),
    ],
)
def test_an_ending_is_said_in_words(code: int, says: str) -> None:
    assert Finished((), code, b"", b"", "", 0.0).ending() == says


@pytest.mark.parametrize(
    ("stdout", "stderr", "lines", "shown"),
    [
        (b"", b"", 3, ""),
        (b"1\n2\n3\n4\n", b"", 3, "2\n3\n4"),
        (b"Failed to start.\n", b"log 1\nlog 2\nlog 3\n", 3, "Failed to start.\nlog 2\nlog 3"),
        (b"out", b"Error", 1, "Error"),
    ],
)
def test_the_last_lines_are_of_both_streams(stdout: bytes, stderr: bytes, lines: int, shown: str) -> None:
    assert Finished((), 1, stdout, stderr, "", 0.0).tail(lines) == shown


def test_output_and_errors_are_kept_apart(pod: Pod) -> None:
    finished = pod.run(shell("echo out; echo err >&2"))
    assert (finished.stdout, finished.stderr) == (b"out\n", b"err\n")


def test_a_program_reads_what_it_is_given_to_read(pod: Pod) -> None:
    text = b"0123456789" * 100_000
    code = "import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())"
    finished = pod.run(python(code, stdin=text))
    assert finished.stdout.decode().strip() == __import__("hashlib").sha256(text).hexdigest()


def test_standard_input_is_closed_when_there_is_nothing_to_read(pod: Pod) -> None:
    assert pod.run(python("import sys; print(len(sys.stdin.read()))", seconds=20)).stdout == b"0\n"


def test_input_that_nobody_reads_holds_nobody_up(pod: Pod) -> None:
    assert pod.run(python("pass", stdin=bytes(4 << 20), seconds=20)).ok


def test_nothing_of_the_graders_environment_is_visible(pod: Pod) -> None:
    found = json.loads(printed(pod, "import json, os; print(json.dumps(dict(os.environ)))"))
    assert SECRET not in found.values()
    assert not {"SECRET", "PYTHONPATH", "VIRTUAL_ENV"} & set(found)


def test_a_program_gets_the_variables_that_are_meant_for_it(pod: Pod) -> None:
    program = Program(("bash", "-c", "echo $COLOUR $HOME"), env={"COLOUR": "green"})
    assert pod.run(program).stdout.decode().split() == ["green", pod.inside("/tmp")]


def test_no_open_file_of_the_graders_is_passed_on(pod: Pod) -> None:
    code = "import os; print(sorted(int(n) for n in os.listdir('/dev/fd')))"
    assert printed(pod, code) == "[0, 1, 2, 3]"  # 3 is the listing's own


def test_a_program_starts_in_the_submission(pod: Pod) -> None:
    assert printed(pod, "import os; print(os.getcwd())") == pod.inside("/submission")


def test_a_service_runs_until_it_is_stopped_and_its_log_can_be_read_meanwhile(pod: Pod) -> None:
    service = pod.start(shell("echo ready; exec sleep 600", seconds=None))
    assert eventually(lambda: "ready" in service.log())
    assert service.alive
    assert service.wait(0.01) is None
    service.kill("was stopped by the test")
    assert not service.alive
    assert service.finished().ending() == "was stopped by the test"
    assert not service.finished().ok


def test_a_service_that_is_asked_to_stop_ends_in_its_own_way(pod: Pod) -> None:
    service = pod.start(shell("trap 'echo goodbye; exit 7' TERM; echo ready; while true; do sleep 0.05; done"))
    assert eventually(lambda: "ready" in service.log())
    service.terminate()
    finished = service.wait(20)
    assert finished is not None
    assert (finished.exit_code, finished.stopped) == (7, "")
    assert b"goodbye" in finished.stdout


def test_whenever_a_program_is_asked_to_stop_it_stops(pod: Pod) -> None:
    mark = new_mark()
    for number in range(12):
        service = pod.start(Program(("python", "-c", "import time; time.sleep(60)", mark)))
        service.wait(number / 100)
        service.terminate()
        assert service.wait(20) is not None
        assert not service.finished().ok
    assert marked(mark) == []


def test_programs_of_one_pod_find_each_other_on_localhost(pod: Pod) -> None:
    server = pod.start(
        python(
            "import socket\n"
            "s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)\n"
            "s.accept()[0].sendall(b'hello')",
        )
    )
    assert eventually(lambda: re.search(r"\d+\n", server.log()) is not None)
    client = "import socket, sys; print(socket.create_connection(('localhost', int(sys.argv[1]))).recv(10).decode())"
    assert printed(pod, client, server.log().strip()) == "hello"
    server.kill()


def test_how_long_a_program_ran_does_not_grow_after_its_end(pod: Pod) -> None:
    running = pod.start(shell("exit 0"))
    first = running.wait(20)
    assert first is not None
    assert running.finished().seconds == first.seconds
