"""One stage of a Dockerfile while it is carried out: its files, its variables, what it would run."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from autograder.pods.dockerfile.context import FOLDER, File
from autograder.pods.dockerfile.reading import Instruction
from autograder.pods.dockerfile.words import Unreadable, expand

DEEPEST = 60  # folders
SHELL = ("/bin/sh", "-c")
# Folders of every base image, as far as somebody copies into them.
_FOLDERS = (
    "bin boot dev etc home lib media mnt opt proc root run sbin srv sys tmp usr usr/bin usr/lib usr/local "
    "usr/local/bin usr/local/etc usr/local/lib usr/local/sbin usr/local/share usr/sbin usr/share usr/src var "
    "var/lib var/log var/tmp var/cache"
)
FOLDERS = frozenset(_FOLDERS.split())
_USERS = (
    "root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc _apt nobody nogroup student "
    "adm tty disk users"
)
USERS = frozenset(_USERS.split())


@dataclass
class Stage:
    """What has been made so far.

    Attributes:
        number: which of the Dockerfile's stages, from 0.
        base: what it starts from: the number of an earlier stage, ``None`` for the course's image or for nothing.
        empty: it starts from ``scratch``.
        env, args: variables of ENV, and of ARG.
        files: by path without the first slash. What the base image holds is not in it, but for some folders.
        kept: the content of every file that was ever copied, each of which is in a layer.
        said: what the configuration and the history hold.
        commands: every RUN.
        entrypoint, cmd: ``None`` where nothing was said.
        changes: how many commands have changed files that are known.
        notes: what has to be said in the log about the instruction that is carried out.
    """

    number: int
    base: int | None = None
    empty: bool = False
    env: dict[str, str] = field(default_factory=dict)
    args: dict[str, str] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)
    kept: list[bytes] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    workdir: str = "/"
    user: str = ""
    shell: tuple[str, ...] = SHELL
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    health: tuple[str, ...] = ()
    changes: int = 0
    notes: list[str] = field(default_factory=list)

    @classmethod
    def first(cls, number: int, env: Mapping[str, str]) -> Stage:
        """One that starts from the course's image."""
        return cls(number, env=dict(env), files=dict.fromkeys(FOLDERS, FOLDER))

    def child(self, number: int) -> Stage:
        """One that starts from this."""
        return replace(
            self,
            number=number,
            base=self.number,
            env=dict(self.env),
            args={},
            files=dict(self.files),
            kept=list(self.kept),
            said=list(self.said),
            commands=list(self.commands),
            notes=[],
        )

    def word(self, instruction: Instruction, text: str) -> str:
        """A word with its variables. Raises Mistake."""
        try:
            return expand(text, {**self.args, **self.env}, instruction.escape)
        except Unreadable as error:
            raise instruction.mistake(f"{error}.") from None

    def place(self, path: str) -> str:
        """A path of the image, from its working directory, without the first slash; ``""`` is the root."""
        return posixpath.normpath(posixpath.join("/", self.workdir, path)).lstrip("/")

    def folder(self, instruction: Instruction, path: str) -> None:
        """Makes a folder, and those that it is in. Raises Mistake when there is a file in its way."""
        parts = path.split("/") if path else []
        if len(parts) > DEEPEST:
            raise instruction.mistake(f"a path is more than {DEEPEST} folders deep.")
        for size in range(1, len(parts) + 1):
            here = "/".join(parts[:size])
            if not self.files.setdefault(here, FOLDER).folder:
                raise instruction.mistake(f"/{here} is a file, and would have to be a folder.")

    def knows(self, name: str) -> bool:
        """Whether there is such a user or group, by number, in the base image, or made by a RUN."""
        if name.isdigit() or name in USERS:
            return True
        makers = ("useradd", "adduser", "groupadd", "addgroup", "passwd")
        made = [command for command in self.commands if any(maker in command for maker in makers)]
        return "etc/passwd" in self.files or any(name in command or "$" in command for command in made)
