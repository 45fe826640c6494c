"""What an examination does with the folders of a notebook's cells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from autograder.lab import ROOT
from autograder.pods import enter, walls

OPEN_UP = """
import json, os, stat, subprocess, sys
from pathlib import Path

from autograder.classroom.exam.calls import Calls
from autograder.classroom.exam.model import Paper
from autograder.pods import LocalPod

top, opened = Path(sys.argv[1]), []
pod = LocalPod(top, elsewhere={"/tmp": top / "temporary"})
pod.outside("/course").mkdir(exist_ok=True)
calls = Calls(pod, {}, Paper(cells=(), handed_in={}, lab="lab-01", folder=top, state=top, namespaces=True, user=None))
mounted = top / "temporary/own/mounted"
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", mounted], check=True)
(mounted / "deep").mkdir(mode=0o700)
(mounted / "deep/inner").touch(mode=0o600)
sys.addaudithook(lambda event, told: opened.append(told[0]) if event == "open" else None)
calls._open_up()
names = [name for name in opened if isinstance(name, str)]
modes = {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in (top / "temporary").rglob("*")}
print(json.dumps([names, modes]))
"""


def test_what_is_mounted_below_tmp_is_not_walked_through(walled: None, tmp_path: Path) -> None:
    """A course that lies below /tmp is mounted there, with its environment: tens of thousands of files."""
    own = tmp_path / "pod/temporary/own"
    (own / "mounted").mkdir(parents=True)
    own.chmod(0o700)
    for name, mode in (("text", 0o600), ("program", 0o700)):
        (own / name).touch()
        (own / name).chmod(mode)
    (own / "link").symlink_to("/etc/passwd")
    out = tmp_path / "out"
    argv = ["sh", "-c", 'exec "$@" >"$0" 2>&1', str(out), sys.executable, "-c", OPEN_UP, str(tmp_path / "pod")]
    process, lifeline = enter(argv, walls())
    try:
        assert process.wait() == 0, out.read_text("utf-8")
    finally:
        os.close(lifeline)
    names, modes = json.loads(out.read_text("utf-8"))
    assert {"own", "text", "program", "mounted"} <= set(names)
    assert not {"deep", "inner"} & set(names)
    assert (modes["own"], modes["text"], modes["program"]) == ("0o777", "0o666", "0o777")
    assert (modes["deep"], modes["inner"]) == ("0o700", "0o600")


def test_the_walk_would_be_noticed(tmp_path: Path) -> None:
    """That the names above are all that is opened: without the mount, the same program opens what lies deeper."""
    own = tmp_path / "pod/temporary/own"
    (own / "mounted").mkdir(parents=True)
    code = OPEN_UP.replace('subprocess.run(["mount", "-t", "tmpfs", "tmpfs", mounted], check=True)', "")
    argv = [sys.executable, "-c", code, str(tmp_path / "pod")]
    ended = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    names, _ = json.loads(ended.stdout)
    assert {"deep", "inner"} <= set(names)
