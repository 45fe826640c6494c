"""A folder for each pod's files, and the broom for what a killed run left behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from autograder.errors import MachineError


@contextlib.contextmanager
def pod_folder() -> Iterator[Path]:
    """An empty folder for one pod. Removed afterwards; what a killed run left is removed by the next.

    Whoever holds the lock file beside a folder is using it; a lock that nobody holds belongs to a run that is no more.

    Raises:
        MachineError: no folder could be made.
    """
    try:
        top = Path(tempfile.gettempdir()) / f"model-deployment-{os.getuid()}"
        with _locked(top):
            _sweep(top)
            folder = Path(tempfile.mkdtemp(prefix="pod-", dir=top))
            folder.chmod(0o755)
            lock = os.open(folder.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        raise MachineError(
            f"No temporary folder could be made: {error}.",
            "Some free space on a disk that can be written to.",
            "Look at `df -h`; set TMPDIR to a folder with space.",
        ) from error
    try:
        yield folder
    finally:
        _remove(folder)
        folder.with_suffix(".lock").unlink(missing_ok=True)
        os.close(lock)
        with contextlib.suppress(OSError), _locked(top):
            top.rmdir()  # fails when another run is using it, and then it may stay


@contextlib.contextmanager
def _locked(top: Path) -> Iterator[None]:
    """Makes ``top`` and keeps other runs of ours from changing what is in it."""
    while True:
        top.mkdir(mode=0o755, exist_ok=True)
        try:
            descriptor = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue  # another run has just removed it
        try:
            if os.fstat(descriptor).st_uid != os.getuid():
                raise PermissionError(f"{top} is not yours")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if top.exists() and os.path.samestat(os.fstat(descriptor), top.stat()):
                yield
                return
        finally:
            os.close(descriptor)


def _sweep(top: Path) -> None:
    for folder in {path.with_suffix("") for path in top.glob("pod-*")}:
        lock_file = folder.with_suffix(".lock")
        with contextlib.suppress(OSError):
            lock = os.open(lock_file, os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(folder)
                lock_file.unlink(missing_ok=True)
            finally:
                os.close(lock)


def _remove(folder: Path) -> None:
    """Removes a folder, whatever permissions a program has taken away in it."""
    shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        return
    for top, folders, _ in os.walk(folder):
        for name in folders:
            path = Path(top) / name
            if not path.is_symlink():
                with contextlib.suppress(OSError):
                    path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
