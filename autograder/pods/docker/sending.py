"""A build context as the engine is sent it."""

from __future__ import annotations

import io
import tarfile
import time
from dataclasses import replace

from autograder.pods.dockerfile.context import IGNORE, Context, File


def build_context(name: str, lines: list[str], context: Context, files: bool, mode: int | None) -> io.BytesIO:
    """A build context: the Dockerfile, which no COPY takes along, and what may be copied."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:

        def add(path: str, file: File) -> None:
            info = tarfile.TarInfo(path)
            info.mode, info.mtime = file.mode, int(time.time())
            info.type = tarfile.DIRTYPE if file.folder else tarfile.REGTYPE
            info.size = len(file.content or b"")
            archive.addfile(info, io.BytesIO(file.content or b""))

        add(name, File("\n".join([*lines, ""]).encode()))
        hidden = [name] if files and IGNORE in context.files else [name, IGNORE]
        add(IGNORE, File("\n".join([context.ignore, *hidden, ""]).encode()))
        for path, file in sorted(context.files.items()) if files else ():
            if path != IGNORE:
                add(path, file if mode is None or file.folder else replace(file, mode=mode))
    content.seek(0)
    return content
