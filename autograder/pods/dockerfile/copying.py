"""COPY and ADD: what they take, and where it lands."""

from __future__ import annotations

import posixpath
import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace

from autograder.pods.dockerfile.context import Context, File
from autograder.pods.dockerfile.globs import clean, magic, match
from autograder.pods.dockerfile.image import FOLDERS, Stage
from autograder.pods.dockerfile.reading import Instruction
from autograder.pods.dockerfile.words import Unreadable, listed

MOST = 20_000  # files of all layers together
MOST_SOURCES = 100
ARCHIVE = re.compile(r"\.(tar|tgz|tbz2?|txz|tar\.\w+)$")
REMOTE = re.compile(r"^(https?|ftp|git|ssh)://|^git@")


@dataclass(frozen=True)
class Copy:
    """What a COPY asks for, with its variables filled in.

    Attributes:
        sources: where from, as written.
        target: where to, as written.
    """

    sources: tuple[str, ...]
    target: str

    @property
    def into(self) -> bool:
        """Whether the target is a folder whatever is there."""
        return self.target.endswith("/") or self.target in (".", "..") or self.target.endswith(("/.", "/.."))


def asked(instruction: Instruction, stage: Stage) -> Copy:
    """Reads the arguments. Raises Mistake."""
    try:
        words = listed(instruction.rest)
    except Unreadable as error:
        raise instruction.mistake(f"{error}.") from None
    if words is None:
        words = tuple(instruction.rest.split())
    if len(words) > MOST_SOURCES:
        raise instruction.mistake(f"{len(words) - 1} sources. Expected: at most {MOST_SOURCES}.")
    if len(words) < 2:
        raise instruction.mistake(f"{instruction.name} needs what to copy and where to: {instruction.name} . .")
    *sources, target = (stage.word(instruction, word) for word in words)
    for source in sources:
        if instruction.name == "ADD" and REMOTE.match(source):
            raise instruction.mistake("the grader has no network. Put the file beside the Dockerfile, and COPY it.")
        if instruction.name == "ADD" and ARCHIVE.search(source):
            raise instruction.mistake("the grader unpacks no archive. COPY the files themselves.")
        if posixpath.normpath(source.lstrip("/") or ".").startswith("..") and not instruction.flag("from"):
            raise instruction.mistake(
                f"{source} is outside of the build context, the folder that the Dockerfile is in. "
                "Expected: files of that folder."
            )
    copy = Copy(tuple(sources), target)
    if len(sources) > 1 and not copy.into:
        raise instruction.mistake(f"several files are copied, so {target} has to be a folder: write {target}/.")
    return copy


def from_context(instruction: Instruction, stage: Stage, context: Context, budget: list[int]) -> None:
    """COPY and ADD from the build context. Raises Mistake."""
    copy = asked(instruction, stage)
    taken = []
    for source in copy.sources:
        found = _meant(source, context.files)
        if not found:
            raise instruction.mistake(_missing(source, context))
        taken += found
    _land(instruction, stage, copy, taken, context.files, budget)


def from_stage(instruction: Instruction, stage: Stage, other: Stage, budget: list[int]) -> tuple[list[str], str]:
    """COPY from an earlier stage. Gives the paths that a RUN there may have made, and the target. Raises Mistake."""
    copy = asked(instruction, stage)
    taken, assumed = [], []
    for source in copy.sources:
        found = _meant(source, other.files)
        if not found or any(path in FOLDERS for path in found):
            # A folder of the base image holds more than is known of it.
            if not found and not other.commands and not clean(source).startswith(("usr/", "etc/", "lib/", "bin/")):
                raise instruction.mistake(f"there is no {source} in stage {instruction.flag('from')}.")
            if not found and not magic(source):
                assumed.append("/" + clean(source))
            stage.notes.append(f"{source} of that stage is not known without an engine, and taken to be there")
        taken += found
    _land(instruction, stage, copy, taken, other.files, budget)
    return assumed, "/" + stage.place(copy.target)


def _meant(source: str, files: Mapping[str, File]) -> list[str]:
    """The paths that a source means; ``""`` is all."""
    path = clean(source)
    if not magic(path):
        return [path] if not path or path in files else []
    depth = path.count("/")
    return sorted(name for name in files if name.count("/") == depth and match(path, name))


def _below(path: str, ordered: list[str]) -> list[str]:
    """Those of sorted paths that lie in a folder."""
    if not path:
        return ordered
    return ordered[bisect_left(ordered, path + "/") : bisect_left(ordered, path + chr(ord("/") + 1))]


def _missing(source: str, context: Context) -> str:
    path = clean(source)
    if path in context.ignored:
        return f".dockerignore leaves {source} out of the build context. Take it out of there, or don't copy it."
    if magic(source):
        return f"no file of the build context is meant by {source}. Expected: at least one."
    name = posixpath.basename(path).lower()
    near = sorted(other for other in context.files if posixpath.basename(other).lower() == name)
    there = f" There is {near[0]}." if near else ""
    return f"there is no {source} in the build context, the folder that the Dockerfile is in.{there}"


def _land(
    instruction: Instruction, stage: Stage, copy: Copy, taken: list[str], files: Mapping[str, File], budget: list[int]
) -> None:
    base = stage.place(copy.target)
    ordered = sorted(files)
    mode = _mode(instruction)
    if copy.into:
        stage.folder(instruction, base)
    for source in taken:
        if not source or files[source].folder:
            stage.folder(instruction, base)
            start = len(source) + 1 if source else 0
            for path in _below(source, ordered):
                _put(instruction, stage, posixpath.join(base, path[start:]), files[path], mode, budget)
        else:
            there = not base or copy.into or (base in stage.files and stage.files[base].folder)
            target = posixpath.join(base, posixpath.basename(source)) if there else base
            _put(instruction, stage, target, files[source], mode, budget)


def _put(instruction: Instruction, stage: Stage, path: str, file: File, mode: int | None, budget: list[int]) -> None:
    path = path.lstrip("/")
    budget[1] -= 1
    if budget[1] < 0:
        raise instruction.mistake("the image gets too many files. Copy what it needs, once.")
    if file.folder:
        stage.folder(instruction, path)
        return
    if path in stage.files and stage.files[path].folder:
        raise instruction.mistake(f"/{path} is a folder, and would have to be a file.")
    stage.folder(instruction, posixpath.dirname(path))
    content = file.content or b""
    budget[0] -= len(content)
    if budget[0] < 0:
        raise instruction.mistake("the image becomes too large. Copy what it needs, once.")
    stage.files[path] = file if mode is None else replace(file, mode=mode)
    stage.kept.append(content)


def _mode(instruction: Instruction) -> int | None:
    text = instruction.flag("chmod")
    if not text:
        return None
    if not re.fullmatch(r"[0-7]{3,4}", text):
        raise instruction.mistake(f"--chmod={text} is not understood. Expected: three octal digits, like 755.")
    return int(text, 8) & 0o777
