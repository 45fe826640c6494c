"""Images of a local pod: a Dockerfile that was carried out without an engine, and its files laid out for programs.

Behind walls an image gets a root of its own, in which its files are at their places. Without walls they lie in a
folder, and the paths in the command and in the variables are changed to lead there.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autograder.pods import rootfs
from autograder.pods.building import Build, Built
from autograder.pods.dockerfile.context import File, read_context
from autograder.pods.dockerfile.image import FOLDERS
from autograder.pods.dockerfile.reading import Mistake
from autograder.pods.dockerfile.steps import carry_out

# Where a container has the pod's own folders, and so nothing of its image.
HIDDEN = ("submission", "models", "course", "tmp", "dev", "proc", "sys")
PATH = re.compile(r"(?<![\w./-])/[\w@%+,.~/-]+")


def as_in_debian(argv: list[str]) -> list[str]:
    """A command of shell form, for a shell that may become its last command: Debian's waits for it instead."""
    if argv[:2] == ["/bin/sh", "-c"] and len(argv) > 2:
        return [*argv[:2], argv[2] + "\nexit $?", *argv[3:]]
    return argv


@dataclass(frozen=True)
class Unpacked:
    """An image, laid out.

    Attributes:
        top: the folder of its files.
        files: what is in it, by path without the first slash.
    """

    top: Path
    files: Mapping[str, File]

    def moved(self, text: str) -> str:
        """A command or a value with the paths of the image's own files and folders as they are without walls."""

        def there(match: re.Match[str]) -> str:
            path = posixpath.normpath(match[0]).lstrip("/")
            found = self.files.get(path)
            own = found is not None and (not found.folder or not Path("/", path).is_dir())
            return str(self.top) + match[0] if own else match[0]

        return PATH.sub(there, text)

    def moved_env(self, env: Mapping[str, str]) -> dict[str, str]:
        """Variables likewise; programs are looked for in the image's own folders first."""
        found = {name: self.moved(value) for name, value in env.items()}
        own = [f"{self.top}{folder}" for folder in env["PATH"].split(":") if (self.top / folder.strip("/")).is_dir()]
        return found | {"PATH": ":".join([*own, found["PATH"]])}


def build_here(folder: int, build: Build, env: Mapping[str, str]) -> tuple[Built, Mapping[str, File]]:
    """Carries out the Dockerfile in a folder; gives what came of it, and the files of the image.

    Args:
        folder: a descriptor of the build context.
        build: what is asked for.
        env: variables of the base image.
    """
    try:
        context = read_context(folder, build.extra, build.context_size)
        carried = carry_out(context, env, build.added_size)
    except Mistake as mistake:
        return Built(False, str(mistake), log=str(mistake)), {}
    image = carried.image
    built = Built(
        ok=True,
        log="\n".join([*carried.log, ""]),
        argv=carried.argv,
        env=image.env,
        workdir=image.workdir,
        user=image.user,
        healthcheck=image.health,
        found=carried.found(build.needles),
    )
    return built, image.files


def lay_out(top: Path, files: Mapping[str, File]) -> None:
    """Writes the files of an image below ``top``. Raises OSError."""
    for path, file in sorted(files.items()):
        if path.split("/")[0] in HIDDEN:
            continue
        target = top / path
        if file.folder:
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_symlink():
            target.unlink()  # to the system's own file of that name
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(file.content or b"")
            os.fchmod(stream.fileno(), file.mode)


def root(pod: Path, number: int, files: Mapping[str, File], *, user: int, packages: list[Path], size: int) -> Unpacked:
    """Lays an image out in a root of its own, inside the pod's walls. Raises OSError."""
    known = {resolved(path): file for path, file in files.items() if path not in FOLDERS}
    with rootfs.another(pod, number, user=user, packages=packages, size=size) as top:
        rootfs.opened(top, (path for path, file in known.items() if not Path("/", path).is_dir() or not file.folder))
        lay_out(top, known)
    return Unpacked(top, files)


def resolved(path: str) -> str:
    """A path whose first folder may be a link of the system's, as ``/bin`` is: where that leads to."""
    first, slash, rest = path.partition("/")
    link = Path("/", first)
    if "/" + first in rootfs.SYSTEM and link.is_symlink():
        return posixpath.normpath(posixpath.join("/", link.readlink())).lstrip("/") + slash + rest
    return path
