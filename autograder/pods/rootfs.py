"""The file system that a student's program sees: the system and Python to read, its own folders to write.

Built once for a pod, inside the pod's own mount namespace: it is gone when the pod's last process is. Neither the
grader, nor the repository, nor anyone's home folder is in it. Linux only.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from autograder.pods.sandbox import MS_BIND, MS_NODEV, MS_NOSUID, MS_RDONLY, MS_REC, MS_REMOUNT, mount

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt/homebrew")
ETC = ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types")
DEVICES = ("null", "zero", "full", "random", "urandom")
IMAGES = "/.images"  # where the roots of a student's images are mounted, out of the student's sight
MACHINE = ".machine"  # in such a root: the system's folders that got something new, as they are
WRITABLE = {"/submission": "256m", "/models": "768m", "/course": "256m", "/tmp": "512m", "/dev/shm": "256m"}
KEPT_FLAGS = ("ST_NODEV", "ST_NOEXEC", "ST_NOSUID", "ST_NOATIME", "ST_NODIRATIME", "ST_RELATIME")


def build(root: Path, *, user: int, packages: list[Path]) -> None:
    """Mounts everything below ``root``, an empty folder in a mount namespace of our own.

    Args:
        root: where to build; it becomes a file system in memory.
        user: the numeric user and group that names the student's programs.
        packages: the folders of the course that programs may read, at their own paths.

    Raises:
        OSError: the kernel refused a mount.
    """
    _system(root, user, "16m")
    (root / IMAGES[1:]).mkdir()
    # Before the course itself is shown: it may lie below one of them, as after `git clone … /tmp/course`.
    for name, size in WRITABLE.items():
        folder = root / name[1:]
        folder.mkdir(parents=True, exist_ok=True)
        mode = "1777" if name in ("/tmp", "/dev/shm") else "755"
        mount("tmpfs", str(folder), "tmpfs", MS_NOSUID | MS_NODEV, f"size={size},nr_inodes=20000,mode={mode}")
    _show_python(root, packages)
    # From here on the grader itself can write nothing but the pod's folders, whatever a submission tempts it to.
    with contextlib.suppress(OSError):
        _read_only(Path("/"))
    # Last, because nothing could be made in it any more.
    mount("none", str(root), "none", MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, "size=16m,mode=755")


@contextlib.contextmanager
def another(root: Path, number: int, *, user: int, packages: list[Path], size: int) -> Iterator[Path]:
    """Mounts a second root beside the pod's, for an image: the same but for the files that are written meanwhile.

    Args:
        root: what ``build`` made.
        number: which, from 1.
        user, packages: as there.
        size: bytes of what may be written.
    """
    images = root / IMAGES[1:]
    if number == 1:
        mount("tmpfs", str(images), "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=700")
    top = images / str(number)
    top.mkdir()
    _system(top, user, str(size))
    for name in WRITABLE:
        folder = top / name[1:]
        folder.mkdir(parents=True, exist_ok=True)
        mount(str(root / name[1:]), str(folder), "none", MS_BIND | MS_REC)
    _show_python(top, packages)
    yield top
    mount("none", str(top), "none", MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, f"size={size},mode=755")


def opened(top: Path, paths: Iterable[str]) -> None:
    """Lets files be written at ``paths`` below ``top`` that lie in the system's folders, beside what is there.

    A folder of the system that gets something new becomes one of links to what it holds, which appears a second time.
    """
    new: dict[str, set[str]] = {}  # folders that get something new, by the folder of the system that they are in
    for path in paths:
        parts = path.split("/")
        if "/" + parts[0] not in SYSTEM or (top / parts[0]).is_symlink() or len(parts) < 2:
            continue
        size = len(parts) - 1
        while size > 1 and not Path("/", *parts[:size]).is_dir():
            size -= 1
        new.setdefault(parts[0], set()).add("/".join(parts[:size]))
    for name, folders in new.items():
        hidden = top / MACHINE / name
        hidden.mkdir(parents=True)
        mount("/" + name, str(hidden), "none", MS_BIND | MS_REC)
        _read_only(hidden)
        outermost = [one for one in folders if not any(one.startswith(other + "/") for other in folders)]
        for number, folder in enumerate(outermost):
            linked = top / MACHINE / f"{name}-{number}"
            _linked(linked, folder, folders)
            mount(str(linked), str(top / folder), "none", MS_BIND)


def _linked(target: Path, folder: str, new: set[str]) -> None:
    target.mkdir()
    for entry in os.listdir("/" + folder):
        path = f"{folder}/{entry}"
        if any(other == path or other.startswith(path + "/") for other in new):
            _linked(target / entry, path, new)
        else:
            (target / entry).symlink_to(f"/{MACHINE}/{path}")


def _system(root: Path, user: int, size: str) -> None:
    """A new file system in memory, with the machine's own in it to read."""
    mount("tmpfs", str(root), "tmpfs", MS_NOSUID | MS_NODEV, f"size={size},nr_inodes=40000,mode=755")
    for name in SYSTEM:
        original = Path(name)
        if original.is_symlink():
            (root / name[1:]).parent.mkdir(parents=True, exist_ok=True)
            (root / name[1:]).symlink_to(original.readlink())
        elif original.is_dir():
            show(original, root)
    _etc(root / "etc", user)
    _dev(root / "dev")
    (root / "proc").mkdir()


def _show_python(root: Path, packages: list[Path]) -> None:
    for path in [Path(sys.prefix), Path(sys.base_prefix), *packages]:
        if not (root / str(path)[1:]).exists():
            show(path, root)


def show(original: Path, root: Path) -> None:
    """Makes ``original`` appear at its own path below ``root``, to read only."""
    target = root / str(original)[1:]
    if original.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    mount(str(original), str(target), "none", MS_BIND | MS_REC)
    _read_only(target)


def _read_only(target: Path) -> None:
    # A user namespace may not clear what the original mount has set, so all of it is said again.
    flags = os.statvfs(target).f_flag
    kept = sum(flags & getattr(os, name, 0) for name in KEPT_FLAGS)
    mount("none", str(target), "none", MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | kept)


def _etc(etc: Path, user: int) -> None:
    etc.mkdir()
    name = "student" if user else "root"
    (etc / "passwd").write_text(f"{name}:x:{user}:{user}::/tmp:/bin/sh\n")
    (etc / "group").write_text(f"{name}:x:{user}:\n")
    (etc / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    (etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n")
    for entry in ETC:
        original = Path("/etc") / entry
        if original.exists():
            show(original, etc.parent)


def _dev(dev: Path) -> None:
    dev.mkdir()
    for name in DEVICES:
        node = dev / name
        node.touch()
        mount(f"/dev/{name}", str(node), "none", MS_BIND)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        (dev / name).symlink_to(target)
