"""Walls: what a program behind them can not see, reach or change."""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from autograder.lab import ROOT
from autograder.pods import Pod

from .places import Grader
from .programs import eventually, printed, python, shell


@pytest.fixture(scope="module")
def addresses() -> list[str]:
    """Every IPv4 address of this machine, loopback first."""
    found = [
        address.address
        for interface in psutil.net_if_addrs().values()
        for address in interface
        if address.family is socket.AF_INET
    ]
    return sorted(found, key=lambda address: not address.startswith("127."))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Somebody on the host who takes whatever connection reaches this machine, at any of its addresses."""
    with socket.create_server(("0.0.0.0", 0)) as server:
        server.settimeout(0)
        yield server


def test_what_runs_in_a_pod_has_no_privileges(pod: Pod) -> None:
    status = dict(line.split(":\t", 1) for line in printed(pod, "print(open('/proc/self/status').read())").splitlines())
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"


@pytest.mark.walled
@pytest.mark.below_the_grader
def test_what_runs_in_a_pod_belongs_to_nobody_on_this_machine(grader: Grader) -> None:
    running = grader.pod.start(shell("exec sleep 60"))
    assert eventually(lambda: any("sleep" in p.name() for p in psutil.Process(grader.process.pid).children(True)))
    users = {p.uids().real for p in psutil.Process(grader.process.pid).children(True) if p.name() == "sleep"}
    if grader.process.pid and psutil.Process(grader.process.pid).uids().real == 0:
        assert all(user >= 1_000_000 for user in users)
    running.kill()


@pytest.mark.walled
def test_nothing_of_the_machines_network_is_reached(pod: Pod, listener: socket.socket, addresses: list[str]) -> None:
    code = (
        "import socket, sys\n"
        "for address in sys.argv[2:]:\n"
        "    try: socket.create_connection((address, int(sys.argv[1])), timeout=5)\n"
        "    except OSError as error: continue\n"
        "    print('reached', address)"
    )
    assert printed(pod, code, str(listener.getsockname()[1]), *addresses) == ""
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.walled
def test_there_is_no_route_out(pod: Pod) -> None:
    assert printed(pod, "print(open('/proc/net/route').read())").splitlines()[1:] == []
    devices = printed(pod, "import socket; print(*(name for _, name in socket.if_nameindex()))")
    assert devices == "lo"


@pytest.mark.walled
def test_the_machines_local_sockets_are_out_of_reach(pod: Pod) -> None:
    name = f"\0model-deployment-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        finished = pod.run(python(f"import socket; socket.socket(socket.AF_UNIX).connect({name!r})"))
    assert b"ConnectionRefusedError" in finished.stderr


@pytest.mark.walled
@pytest.mark.below_the_grader
def test_only_a_programs_own_processes_are_visible(pod: Pod) -> None:
    other = pod.start(shell("exec sleep 60"))
    seen = printed(
        pod, "import os; print(*(open(f'/proc/{n}/comm').read() for n in os.listdir('/proc') if n.isdigit()))"
    ).split()
    assert "sleep" not in seen
    assert len(seen) == 2  # its init, and itself
    assert other.alive
    other.kill()


@pytest.mark.walled
@pytest.mark.below_the_grader
def test_no_process_outside_can_be_signalled(grader: Grader) -> None:
    code = (
        "import os, signal\n"
        "for number in range(2, 70_000):\n"
        "    if number == os.getpid(): continue\n"
        "    try: os.kill(number, signal.SIGKILL)\n"
        "    except ProcessLookupError: continue\n"
        "    except PermissionError: pass\n"
        "    print('found', number)\n"
        "try: os.kill(1, signal.SIGKILL)\n"
        "except PermissionError: pass"
    )
    assert printed(grader.pod, code) == ""
    assert grader.process.poll() is None
    assert grader.pod.run(shell("exit 4")).exit_code == 4


@pytest.mark.walled
def test_the_init_of_its_processes_keeps_its_secrets(pod: Pod) -> None:
    code = (
        "import os\n"
        "for name in ('environ', 'mem', 'maps'):\n"
        "    try: print(name, open(f'/proc/1/{name}', 'rb').read(1))\n"
        "    except OSError: continue\n"
        "for name in ('root', 'cwd', 'fd'):\n"
        "    try: found = os.listdir(f'/proc/1/{name}')\n"
        "    except OSError: continue\n"
        "    if found: print(name, found)"
    )
    assert printed(pod, code) == ""


@pytest.mark.walled
def test_neither_hidden_checks_nor_solutions_are_visible(pod: Pod) -> None:
    code = (
        "import json, os, sys\n"
        "root = sys.argv[1]\n"
        "print(json.dumps([os.listdir(path) if os.path.isdir(path) else [] for path in (root, root + '/autograder')]))"
    )
    repository, package = json.loads(printed(pod, code, str(ROOT)))
    assert set(repository) <= {".venv", "autograder"}
    assert set(package) <= {"__init__.py", "modelserver"}


@pytest.mark.walled
def test_nobodys_home_is_visible(pod: Pod) -> None:
    """A folder on the way to Python may be there; what else is in it is not."""
    code = (
        "import os, sys\n"
        "for home in sys.argv[1:]:\n"
        "    for folder, folders, files in os.walk(home):\n"
        "        if folder in (sys.prefix, sys.base_prefix): folders.clear(); continue\n"
        "        if files: print(folder, files[:3])"
    )
    known = [home for home in ("/root", "/home", str(Path.home())) if Path(sys.prefix) not in Path(home).parents]
    shown = {str(ROOT / ".venv"), sys.prefix, sys.base_prefix}
    found = [line for line in printed(pod, code, *known).splitlines() if not any(s in line for s in shown)]
    assert found == []


@pytest.mark.walled
def test_nothing_can_be_written_outside_of_a_pods_folders(pod: Pod) -> None:
    code = """
import os
allowed = [os.environ["HOME"], os.getcwd(), "/models", "/course", "/dev", "/proc", "/tmp"]
def try_folder(folder):
    try:
        path = os.path.join(folder, ".probe"); open(path, "w").close(); os.unlink(path)
    except OSError: return
    print(folder)
for top in ("/", *("/" + name for name in os.listdir("/"))):
    if top in allowed: continue
    try_folder(top)
    for folder, folders, files in os.walk(top) if top != "/" else ():
        if folder.count("/") > 3: folders.clear()
        if not any(folder == a or folder.startswith(a + "/") for a in allowed): try_folder(folder)
"""
    assert printed(pod, code) == ""


@pytest.mark.walled
def test_a_file_in_its_temporary_folder_is_not_on_the_machine(pod: Pod) -> None:
    name = f"probe-{os.getpid()}"
    printed(pod, f"open('/tmp/{name}', 'w').write('x'); open('/dev/shm/{name}', 'w').write('x')")
    assert not (Path(tempfile.gettempdir()) / name).exists()
    assert not (Path("/dev/shm") / name).exists()


@pytest.mark.walled
def test_the_system_can_not_be_mounted_or_left(pod: Pod) -> None:
    code = (
        "import ctypes, os\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "print(libc.mount(b'none', b'/tmp', b'tmpfs', 0, b''), libc.umount(b'/proc'), libc.unshare(0x20000))\n"
        "try: os.chroot('/tmp')\n"
        "except PermissionError: print('no')"
    )
    assert printed(pod, code).split() == ["-1", "-1", "-1", "no"]


@pytest.mark.walled
def test_two_pods_see_nothing_of_each_other(grader: Grader, pod: Pod) -> None:
    server = grader.pod.start(
        python(
            "import socket\n"
            "open('/tmp/mine', 'w').write('x')\n"
            "s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)\n"
            "s.accept(); print('reached', flush=True)",
            seconds=60,
        )
    )
    assert eventually(lambda: "\n" in server.log())
    code = (
        "import os, socket, sys\n"
        "print(os.path.exists('/tmp/mine'))\n"
        "print(socket.socket().connect_ex(('127.0.0.1', int(sys.argv[1]))))"
    )
    here, error = printed(pod, code, server.log().strip()).split()
    assert here == "False"
    assert error != "0"
    assert "reached" not in server.log()
    server.kill()


@pytest.mark.walled
def test_pods_use_the_same_port_side_by_side(grader: Grader, pod: Pod) -> None:
    code = (
        "import socket, time\ns = socket.create_server(('127.0.0.1', 8501)); print('mine', flush=True); time.sleep(60)"
    )
    first, second = grader.pod.start(python(code)), pod.start(python(code))
    assert eventually(lambda: "mine" in first.log() and "mine" in second.log())
    first.kill()
    second.kill()


@pytest.mark.walled
def test_the_report_says_which_walls_there_were(pod: Pod) -> None:
    assert "own network without a route out" in pod.isolation[0]


def test_a_pod_without_walls_says_so() -> None:
    from autograder.pods.local import NO_WALLS

    assert NO_WALLS.sentences()[0].startswith("no walls")
    assert json.dumps(NO_WALLS.sentences())
