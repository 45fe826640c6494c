"""What the containers of a pod may and may not, as the engine knows it and as what runs in them finds out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pods.containers import containers_of
from pods.places import PLACES, Grader
from pods.programs import eventually, printed, python, write

from autograder.errors import GraderError
from autograder.pods import SERVICE, Limits, MiB, Program
from autograder.pods.docker.engine import Engine


def service(code: str, *argv: str, ours: bool = False, **limits: Any) -> Program:
    """A Python program in a container of its own."""
    limits = {"seconds": None, **limits}
    return Program(("python", "-c", code, *argv), limits=Limits(**limits), service="python", ours=ours)


def test_every_container_of_student_code_has_its_walls(grader: Grader, engine: Engine) -> None:
    running = grader.pod.start(service("print('ready', flush=True); import time; time.sleep(60)"))
    assert eventually(lambda: "ready" in running.log())
    printed(grader.pod, "pass")
    boxes = containers_of(engine, grader.temporary)
    assert len(boxes) == 3
    (worker,) = (box for box in boxes if box.attrs["HostConfig"]["NetworkMode"] == "none")
    for box in boxes:
        host, config = box.attrs["HostConfig"], box.attrs["Config"]
        assert host["CapDrop"] == ["ALL"]
        assert "no-new-privileges" in host["SecurityOpt"]
        assert not host["Privileged"]
        assert not host["PortBindings"]
        assert 0 < host["Memory"] == host["MemorySwap"]
        assert host["PidsLimit"] > 0
        assert all(mount["Type"] == "volume" for mount in box.attrs["Mounts"])  # and so not the engine's socket
        if box.id != worker.id:
            assert host["NetworkMode"] == f"container:{worker.id}"
            assert host["ReadonlyRootfs"]
            assert not host["CapAdd"]
            assert host["NanoCpus"] > 0
            assert int(config["User"].split(":")[0]) >= 20_000


def test_a_service_has_no_privileges_and_no_way_out(grader: Grader) -> None:
    code = """
import json, os, socket
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
found = {
    "capabilities": [status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
    "routes": open("/proc/net/route").read().splitlines()[1:],
    "devices": [name for _, name in socket.if_nameindex()],
    "sockets": [path for path in ("/var/run/docker.sock", "/run/docker.sock") if os.path.exists(path)],
    "user": os.getuid(), "groups": os.getgroups(),
    "written": [],
}
for folder in ("/", "/etc", "/usr", "/opt", "/var/tmp", "/run", "/course"):
    try: open(folder + "/probe", "w"); found["written"].append(folder)
    except OSError: pass
print(json.dumps(found))
"""
    running = grader.pod.start(service(code))
    finished = running.wait(60)
    assert finished is not None
    found = json.loads(finished.stdout)
    assert set(found["capabilities"]) == {"0" * 16}
    assert (found["routes"], found["devices"], found["sockets"], found["written"]) == ([], ["lo"], [], [])
    assert found["user"] >= 20_000
    assert 0 not in found["groups"]


def test_a_service_and_a_program_share_localhost_and_files(grader: Grader) -> None:
    running = grader.pod.start(
        service(
            "import socket\nopen('/models/seen', 'w')\n"
            "s = socket.create_server(('127.0.0.1', 8501)); print('ready', flush=True); s.accept()[0].sendall(b'hello')"
        )
    )
    grader.pod.grant("/models")
    assert eventually(lambda: "ready" in running.log() or not running.alive)
    if not running.alive:  # it came before the folder was its own
        pytest.fail(running.log())
    code = "import os, socket; print(socket.create_connection(('localhost', 8501)).recv(9), os.listdir('/models'))"
    assert printed(grader.pod, code) == "b'hello' ['seen']"


def test_a_service_is_ended_with_all_that_it_started(grader: Grader, engine: Engine) -> None:
    code = "import os, time\nif os.fork() == 0: os.setsid()\nprint('ready', flush=True)\ntime.sleep(60)"
    running = grader.pod.start(service(code))
    assert eventually(lambda: running.log().count("ready") == 2)
    before = len(containers_of(engine, grader.temporary))
    running.kill("was stopped by the test")
    assert running.finished().ending() == "was stopped by the test"
    assert len(containers_of(engine, grader.temporary)) == before - 1


def test_a_service_ends_in_its_own_way(grader: Grader) -> None:
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "print('out', flush=True); print('err', file=sys.stderr, flush=True)\n"
        "print(len(sys.stdin.read()), flush=True)\n"
        "while True: time.sleep(1)"
    )
    running = grader.pod.start(service(code))
    assert eventually(lambda: "0" in running.log())
    running.terminate()
    finished = running.wait(20)
    assert finished is not None
    assert (finished.exit_code, finished.stopped) == (7, "")
    assert (finished.stdout, finished.stderr) == (b"out\n0\n", b"err\n")


def test_a_service_that_the_pod_was_ready_for_is_like_any_other(engine: Engine) -> None:
    code = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "print('err', file=sys.stderr, flush=True)\n"
        "print(os.getcwd(), os.environ['HOME'], len(sys.stdin.read()), sys.argv[1:], os.getppid(), flush=True)\n"
        "while True: time.sleep(1)"
    )
    argv = ("python", "-c", code, "a  b", "$HOME", "'")
    with next(place for place in PLACES if place.docker).grader(first=argv) as grader:
        assert eventually(lambda: len(containers_of(engine, grader.temporary)) == 3)
        boxes = containers_of(engine, grader.temporary)
        (held,) = (box.id for box in boxes if "a  b" in box.attrs["Config"]["Cmd"])
        other = grader.pod.start(service("print('other')")).wait(60)
        assert other is not None
        assert other.stdout == b"other\n"
        assert held in {box.id for box in containers_of(engine, grader.temporary)}
        ends = []
        for _ in range(2):
            running = grader.pod.start(Program(argv, limits=SERVICE, service="python"))
            assert eventually(lambda: running.log().count("\n") == 2)  # noqa: B023
            running.terminate()
            ends.append(running.wait(20))
            assert held not in {box.id for box in containers_of(engine, grader.temporary)}
    first, second = ends
    assert first is not None
    assert second is not None
    assert (first.exit_code, first.stopped) == (second.exit_code, second.stopped) == (7, "")
    assert first.stdout == second.stdout == b"/submission /tmp 0 ['a  b', '$HOME', \"'\"] 1\n"
    assert first.stderr == second.stderr == b"err\n"


@pytest.mark.parametrize(
    ("code", "limits", "stopped"),
    [
        ("while True: print('x' * 1000)", {"output": MiB}, "printed more than 1 MiB"),
        ("import time; time.sleep(60)", {"seconds": 1.0}, "was still running after 1 seconds"),
    ],
)
def test_a_limit_of_a_service_is_kept(grader: Grader, code: str, limits: dict[str, Any], stopped: str) -> None:
    finished = grader.pod.start(service(code, **limits)).wait(30)
    assert finished is not None
    assert finished.stopped == stopped


def test_a_service_that_fills_the_memory_is_refused_or_stopped(grader: Grader) -> None:
    code = "import os\nos.fork(), os.fork()\nkept = []\nwhile True: kept.append(bytearray(b'x') * (4 << 20))"
    finished = grader.pod.start(service(code, memory=200 * MiB)).wait(60)
    assert finished is not None
    assert b"MemoryError" in finished.stderr or finished.stopped == "used more than 200 MiB of memory"
    assert not finished.ok


def test_a_fork_bomb_in_a_service_is_bounded_and_ended(grader: Grader) -> None:
    code = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    running = grader.pod.start(service(code, processes=40, seconds=3.0))
    finished = running.wait(60)
    assert finished is not None
    assert finished.stopped == "was still running after 3 seconds"
    assert printed(grader.pod, "print('fine')") == "fine"


def test_the_courses_own_service_is_another_user(grader: Grader) -> None:
    write(grader.pod, "/course/whose.txt", b"ours")
    theirs = grader.pod.start(service("import os; print(os.getuid())")).wait(30)
    ours = grader.pod.start(service("import os; print(os.getuid())", ours=True)).wait(30)
    assert theirs is not None
    assert ours is not None
    assert int(ours.stdout) == int(theirs.stdout) + 1


def test_an_image_that_is_not_there_is_our_fault(grader: Grader) -> None:
    running = grader.pod.start(Program(("true",), service="grafana"))
    with pytest.raises(GraderError, match="no image for grafana"):
        running.wait(30)


def test_a_program_can_neither_end_nor_read_what_starts_programs(grader: Grader) -> None:
    """They are of one user: what keeps them apart is that number 1 takes no signal and can't be traced."""
    code = """
import ctypes, os, signal
for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGINT):
    os.kill(1, number)
for name in ("mem", "environ", "fd/3"):
    try: open(f"/proc/1/{name}", "rb").read(1); print("read", name)
    except OSError: pass
PTRACE_ATTACH = 16
print(ctypes.CDLL(None).ptrace(PTRACE_ATTACH, 1, 0, 0), ctypes.CDLL(None).ptrace(PTRACE_ATTACH, os.getppid(), 0, 0))
"""
    assert printed(grader.pod, code) == "-1 -1"
    assert printed(grader.pod, "print('fine')") == "fine"


@pytest.mark.parametrize("number", ["SIGKILL", "SIGSTOP"])
def test_a_program_that_turns_on_its_watcher_gains_nothing(grader: Grader, number: str) -> None:
    code = f"import os, signal, time\nprint('ready', flush=True)\nos.kill(-1, signal.{number})\ntime.sleep(600)"
    finished = grader.pod.run(python(code, seconds=2))
    assert not finished.ok
    assert finished.seconds < 30
    listing = "import os; print(len([n for n in os.listdir('/proc') if n.isdigit()]))"
    assert printed(grader.pod, listing) == "3"  # number 1, this program, and its watcher


def test_the_volumes_are_no_folders_of_the_machine(grader: Grader, engine: Engine) -> None:
    for box in containers_of(engine, grader.temporary):
        for mount in box.attrs["Mounts"]:
            found = engine.client.volumes.get(mount["Name"]).attrs
            assert found["Options"]["type"] == "tmpfs"
            assert "size=" in found["Options"]["o"]
            assert str(Path(mount["Destination"])).startswith(("/pod/", "/submission", "/models", "/course", "/tmp"))
