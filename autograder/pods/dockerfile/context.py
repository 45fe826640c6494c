"""The files that a build may copy: the student's, without what ``.dockerignore`` leaves out, held in memory.

No link is followed, and nothing but plain files and folders is taken: the folder may be a student's to write.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from autograder.pods.dockerfile.globs import Ignored
from autograder.pods.dockerfile.reading import LARGEST, Mistake
from autograder.pods.program import MiB

DOCKERFILE, IGNORE = "Dockerfile", ".dockerignore"
MOST_FILES, DEEPEST, MOST_PATTERNS = 4000, 20, 200


@dataclass(frozen=True)
class File:
    """A file, or with ``None`` for content a folder."""

    content: bytes | None
    mode: int = 0o644

    @property
    def folder(self) -> bool:
        return self.content is None


FOLDER = File(None, 0o755)


@dataclass(frozen=True)
class Context:
    """What a build starts from.

    Attributes:
        dockerfile: the Dockerfile.
        files: files and folders by path, ``app/main.py``.
        ignore: the text of ``.dockerignore``.
        ignored: paths that it leaves out.
    """

    dockerfile: bytes
    files: Mapping[str, File]
    ignore: str
    ignored: frozenset[str]


def read_context(top: int, extra: Mapping[str, bytes], most: int) -> Context:
    """Reads a folder.

    Args:
        top: a descriptor of the folder, which stays open.
        extra: files that lie beside, or in the place of, the student's own.
        most: bytes that it may have, without what ``.dockerignore`` leaves out.

    Raises:
        Mistake: there is no Dockerfile that can be read, or too much beside it.
        OSError: the folder can't be read.
    """
    dockerfile = extra.get(DOCKERFILE)
    if dockerfile is None:
        dockerfile = _dockerfile(top)
    ignore = _text(extra[IGNORE] if IGNORE in extra else _small(top, IGNORE))
    ignored = Ignored(ignore)
    left_out: set[str] = set()
    found: dict[str, File] = {}
    size = 0

    def take(path: str, file: File) -> None:
        nonlocal size
        size += len(file.content or b"")
        found.setdefault(path, file)
        if size > most:
            raise Mistake(
                f"The build context is larger than {most // MiB} MiB. "
                "Expected: what the image needs. Name what it does not need in .dockerignore."
            )
        if len(found) > MOST_FILES:
            raise Mistake(f"The build context has more than {MOST_FILES:,} files. Name the rest in .dockerignore.")

    for path in extra:
        for parent in _parents(path):
            found.setdefault(parent, FOLDER)
        if ignored(path):
            left_out.add(path)
        else:
            take(path, File(extra[path]))
    for path, file in _walk(top, "", 0):
        if path in extra:
            continue
        if ignored(path):
            left_out.add(path)
        elif isinstance(file, File):
            take(path, file)
        else:
            take(path, _read(file, most))
    # A folder that is left out is there all the same when something in it is not.
    for path in list(found):
        for parent in _parents(path):
            found.setdefault(parent, FOLDER)
    return Context(dockerfile, found, ignore, frozenset(left_out))


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:size]) for size in range(1, len(parts))]


def _dockerfile(top: int) -> bytes:
    try:
        kind = os.stat(DOCKERFILE, dir_fd=top, follow_symlinks=False).st_mode
    except FileNotFoundError:
        others = sorted(name for name in os.listdir(top)[:MOST_FILES] if name.lower().startswith("dockerfile"))
        there = f" There is {others[0][:60]!a}." if others else ""
        raise Mistake(f"There is no file Dockerfile.{there} Expected: a file of just that name.") from None
    if not stat.S_ISREG(kind):
        what = "a folder" if stat.S_ISDIR(kind) else "a link" if stat.S_ISLNK(kind) else "something else"
        raise Mistake(f"Dockerfile is {what}. Expected: a file.")
    content = _small(top, DOCKERFILE)
    if len(content) > LARGEST:
        raise Mistake(f"The Dockerfile has more than {LARGEST:,} bytes. Expected: at most {LARGEST:,}.")
    return content


def _small(top: int, name: str) -> bytes:
    """The beginning of a plain file; nothing when there is none."""
    with contextlib.suppress(OSError), _opened(top, name) as descriptor:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return os.read(descriptor, LARGEST + 1)
    return b""


def _text(ignore: bytes) -> str:
    try:
        text = ignore.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Mistake(".dockerignore is not UTF-8. Expected: a text file.") from None
    if len(ignore) > LARGEST or text.count("\n") > MOST_PATTERNS:
        raise Mistake(f".dockerignore has more than {MOST_PATTERNS} lines. Expected: fewer.")
    return text


@contextlib.contextmanager
def _opened(folder: int, name: str, flags: int = 0) -> Iterator[int]:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | flags, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _walk(folder: int, prefix: str, depth: int) -> Iterator[tuple[str, File | int]]:
    """Paths, each with ``FOLDER`` or the descriptor of a file that is open until the next."""
    if depth > DEEPEST:
        raise Mistake(f"{prefix[:60]}… is more than {DEEPEST} folders deep. Expected: fewer.")
    for name in sorted(os.listdir(folder)):
        path = prefix + name
        try:
            path.encode()
            kind = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
            if stat.S_ISDIR(kind):
                yield path, FOLDER
                with _opened(folder, name, os.O_DIRECTORY) as deeper:
                    yield from _walk(deeper, path + "/", depth + 1)
            elif stat.S_ISREG(kind):
                with _opened(folder, name) as descriptor:
                    yield path, descriptor
        except (OSError, UnicodeEncodeError):
            continue  # it went away meanwhile, became a link, or has a name that nobody can write


def _read(descriptor: int, most: int) -> File:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return File(b"")
    chunks = []
    while most >= 0 and (chunk := os.read(descriptor, 1 << 20)):
        chunks.append(chunk)
        most -= len(chunk)
    return File(b"".join(chunks), 0o755 if status.st_mode & 0o111 else 0o644)
