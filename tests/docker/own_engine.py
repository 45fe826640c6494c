"""A Docker engine of a test's own, to be killed: it has the machine's images, and nothing else in common with it.

It lives in namespaces of processes, mounts and network, whose end is the end of all that is its own. The layers
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from pods.programs import eventually

from autograder.pods.docker.engine import Engine, connect

# Each line on its standard input starts the engine anew; the end of its input is the end of everything.
SCRIPT = r"""
set -eu
folder=$1 from=$2 cgroup=$3
mount -t tmpfs none /run
mkdir -p "$folder/root/image" "$folder/root/overlay2"
# The engine wants mount points here, and those that it made itself would hide the layers.
for path in root root/overlay2; do
    mount --bind "$folder/$path" "$folder/$path"
    mount --make-shared "$folder/$path"
done
if [ -n "$from" ]; then
    cp -a "$from/image/overlay2" "$folder/root/image/"
    rm -rf "$folder/root/image/overlay2/layerdb/mounts"
    cp -a "$from/overlay2/l" "$folder/root/overlay2/"
    for file in "$folder"/root/image/overlay2/layerdb/sha256/*/cache-id; do
        layer=$(cat "$file")
        mkdir -p "$folder/root/overlay2/$layer/diff" "$folder/root/overlay2/$layer/work"
        find "$from/overlay2/$layer" -maxdepth 1 -type f -exec cp {} "$folder/root/overlay2/$layer" ";"
        mount --bind "$from/overlay2/$layer/diff" "$folder/root/overlay2/$layer/diff"
        mount -o remount,bind,ro "$folder/root/overlay2/$layer/diff"
    done
fi
while read -r _; do
    dockerd --host "unix://$folder/engine.sock" --data-root "$folder/root" --exec-root /run/own --pidfile /run/own.pid \
        --storage-driver overlay2 --cgroup-parent "$cgroup" --exec-opt native.cgroupdriver=cgroupfs \
        --bridge=none --iptables=false --ip-forward=false >>"$folder/log" 2>&1 </dev/null || true
done
"""


class OwnEngine:
    """The engine, started and killed as a test wants it.

    Attributes:
        address: what DOCKER_HOST has to say.
    """

    def __init__(self, folder: Path, images: str) -> None:
        self._folder = folder
        self.address = f"unix://{folder}/engine.sock"
        self._cgroup = f"/{folder.name}"
        # A network of its own, too: an engine without a bridge removes the one that it finds.
        walls = ["unshare", "--mount", "--net", "--pid", "--mount-proc", "--fork", "--kill-child"]
        argv = ["sh", "-c", SCRIPT, "engine", str(folder), images, self._cgroup]
        self._init = subprocess.Popen([*walls, *argv], stdin=subprocess.PIPE)

    def start(self) -> None:
        """Starts it; comes back when it answers."""
        assert self._init.stdin is not None
        self._init.stdin.write(b"\n")
        self._init.stdin.flush()
        argv = ["docker", "-H", self.address, "version"]

        def answers() -> bool:
            return subprocess.run(argv, capture_output=True, check=False).returncode == 0

        assert eventually(lambda: answers() or self._init.poll() is not None, 60), self.log()
        assert self._init.poll() is None, self.log()

    def log(self) -> str:
        """The end of what it says of itself."""
        path = self._folder / "log"
        return path.read_text("utf-8", "replace")[-3000:] if path.exists() else "it never began"

    def kill(self) -> None:
        """Kills the engine's own process, and none of its containers'."""
        (daemon,) = (p for p in psutil.Process(self._init.pid).children(recursive=True) if p.name() == "dockerd")
        daemon.kill()
        assert eventually(lambda: not daemon.is_running())

    def close(self) -> None:
        """Ends everything; returns when it is gone."""
        self._init.kill()
        self._init.wait()
        assert self._init.stdin is not None
        self._init.stdin.close()
        for known in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()):
            for group in sorted((known / self._cgroup[1:]).glob("**/"), reverse=True):
                assert eventually(lambda group=group: _removed(group))  # type: ignore[misc]


def _removed(group: Path) -> bool:
    """Whether a control group is gone; the kernel keeps it until the last of its processes is."""
    with contextlib.suppress(FileNotFoundError):
        try:
            group.rmdir()
        except OSError:
            return False
    return True


@contextlib.contextmanager
def own_engine(*, images: bool) -> Iterator[OwnEngine]:
    """An engine of the test's own, started, with the machine's images or with none."""
    root = _images_of(connect())
    folder = Path(tempfile.mkdtemp(prefix="engine-", dir="/tmp"))
    engine = OwnEngine(folder, root if images else "")
    try:
        engine.start()
        yield engine
    finally:
        engine.close()
        shutil.rmtree(folder)


def _images_of(engine: Engine) -> str:
    """Where an engine keeps its images. Skips the test where that can't be shared with another engine."""
    info = engine.client.info()
    root, driver = str(info["DockerRootDir"]), str(info["Driver"])
    if os.getuid() != 0 or not os.access(f"{root}/overlay2", os.R_OK) or driver != "overlay2":
        pytest.skip("only root can start a second engine, and only beside one that keeps its images here in overlay2")
    if not all(map(shutil.which, ("dockerd", "unshare"))):
        pytest.skip("no dockerd here to start a second engine")
    return root
