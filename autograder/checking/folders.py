"""Watches a folder the way a model server's worst moment would: sees every entry at the instant it appears.

Linux's inotify tells how an entry came to be: a folder that was *made* was empty when it could first be seen; one that
was *moved* in, and a link, were whatever they pointed at. Source: inotify(7).
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from autograder.errors import NotRun

IN_MOVED_TO, IN_CREATE, IN_ISDIR, IN_NONBLOCK = 0x80, 0x100, 0x40000000, 0o4000
_HEADER = struct.Struct("iIII")


@dataclass(frozen=True)
class Appearance:
    """An entry that appeared in a watched folder.

    Attributes:
        name: its name.
        made_empty: it is a folder that was made in place, so a watcher saw it empty.
    """

    name: str
    made_empty: bool


class Watch:
    """A context manager that records what appears in a folder. Raises NotRun where there is no inotify."""

    def __init__(self, folder: Path) -> None:
        if sys.platform != "linux":
            raise NotRun("This check needs Linux's inotify.", "Grading on Linux or in Docker.")
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(IN_NONBLOCK)
        if (
            self._descriptor < 0
            or libc.inotify_add_watch(self._descriptor, os.fsencode(folder), IN_CREATE | IN_MOVED_TO) < 0
        ):
            raise OSError(ctypes.get_errno(), "inotify")

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def seen(self) -> list[Appearance]:
        """What has appeared since the last call, in order."""
        found: list[Appearance] = []
        while True:
            try:
                data = os.read(self._descriptor, 1 << 16)
            except BlockingIOError:
                return found
            position = 0
            while position < len(data):
                _, mask, _, size = _HEADER.unpack_from(data, position)
                position += _HEADER.size
                name = os.fsdecode(data[position : position + size].rstrip(b"\0"))
                position += size
                found.append(Appearance(name, bool(mask & IN_CREATE and mask & IN_ISDIR)))


def written_after(moment: int, folder: int) -> str:
    """The first file of a folder that was written after a moment; empty if there is none.

    Args:
        moment: nanoseconds since the epoch, as in ``st_ctime_ns``.
        folder: a descriptor of the folder; no link below it is followed.
    """
    for path, _, files, descriptor in os.fwalk(".", dir_fd=folder):
        for name in sorted(files):
            if os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_ctime_ns > moment:
                return os.path.normpath(os.path.join(path, name))
    return ""
