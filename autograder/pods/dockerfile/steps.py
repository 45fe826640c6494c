"""Carries a Dockerfile out, instruction by instruction, as far as that goes without an engine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from autograder.pods.dockerfile import copying, running, words
from autograder.pods.dockerfile.context import Context
from autograder.pods.dockerfile.image import Stage
from autograder.pods.dockerfile.reading import Instruction, Mistake, read
from autograder.pods.dockerfile.words import Unreadable, expand, listed, pairs, split

MOST_TEXT = 128 << 10  # of all variables: what a kernel gives a program is not much more
COURSE = "the course's Python image"
PORT = re.compile(r"\d{1,5}(-\d{1,5})?(/(tcp|udp|sctp))?$", re.IGNORECASE)
DURATION = re.compile(r"(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$")
PYTHON = re.compile(r"(?:[^\s@]*/)?python(?::[\w.-]+)?(?:@sha256:[0-9a-f]+)?$")


@dataclass
class Carried:
    """What came of it.

    Attributes:
        instructions: what was read.
        stages: every stage; the last one is the image.
        bases: for each FROM, by its line, what it means: an earlier stage, ``""`` for scratch, or ``COURSE``.
        assumed: for each stage, paths that are taken to be made by its RUN, because a later one copies them.
        runs: for each RUN, by its line, the arguments that it is given, and its command.
        sources: for each COPY from a stage, by its line, which, and where to.
        log: a line or two for each instruction.
    """

    instructions: list[Instruction]
    stages: list[Stage] = field(default_factory=list)
    bases: dict[int, int | str] = field(default_factory=dict)
    assumed: dict[int, list[str]] = field(default_factory=dict)
    runs: dict[int, tuple[dict[str, str], tuple[str, ...]]] = field(default_factory=dict)
    sources: dict[int, tuple[int, str]] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    @property
    def image(self) -> Stage:
        return self.stages[-1]

    @property
    def argv(self) -> tuple[str, ...]:
        return (*(self.image.entrypoint or ()), *(self.image.cmd or ()))

    def found(self, needles: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Those of the needles that the image keeps: in a layer, its configuration, or its history."""
        said = "\n".join(self.image.said).encode("utf-8", "replace")
        return tuple(n for n in needles if n and (n in said or any(n in content for content in self.image.kept)))


def carry_out(context: Context, env: Mapping[str, str], most: int) -> Carried:
    """Carries out a Dockerfile.

    Args:
        context: the Dockerfile, and what it may copy.
        env: variables of the base image.
        most: bytes that it may copy.

    Raises:
        Mistake: what is wrong with it.
    """
    carried = Carried(read(context.dockerfile))
    work = _Work(carried, context, env, most)
    total = len(carried.instructions)
    for number, instruction in enumerate(carried.instructions, 1):
        work.do(instruction)
        carried.log.append(f"Step {number}/{total} : {instruction}")
        if carried.stages:
            carried.log += [f" ---> {note}" for note in carried.image.notes]
            carried.image.notes.clear()
    if not carried.stages:
        raise Mistake("The Dockerfile has no FROM. Expected: FROM python:3.11-slim as its first instruction.")
    if not carried.argv or not carried.argv[0]:
        raise Mistake(
            "The Dockerfile says nothing about what to run: it has neither CMD nor ENTRYPOINT. "
            'Expected: CMD ["python", "-m", "app"] or the like in the last stage.'
        )
    return carried


class _Work:
    """The instructions, each a method of its name."""

    def __init__(self, carried: Carried, context: Context, env: Mapping[str, str], most: int) -> None:
        self.carried, self.context, self.env = carried, context, env
        self.budget = [most, copying.MOST]
        self.names: dict[str, int] = {}
        self.globals: dict[str, str] = {}
        self.cmd_of: dict[int, bool] = {}

    def do(self, instruction: Instruction) -> None:
        """Carries out one. Raises Mistake."""
        if instruction.name == "FROM":
            self._from(instruction)
        elif not self.carried.stages:
            if instruction.name != "ARG":
                raise instruction.mistake("it stands before FROM. Expected: FROM python:3.11-slim first.")
            for name, value in self._arguments(instruction, self.globals):
                self.globals[name] = value or ""
        else:
            stage = self.carried.image
            stage.said.append(f"{instruction.name} {instruction.rest}")
            getattr(self, "_" + instruction.name.lower())(instruction, stage)

    def _from(self, instruction: Instruction) -> None:
        said = instruction.rest.split()
        if len(said) not in (1, 3) or (len(said) == 3 and said[1].upper() != "AS"):
            raise instruction.mistake("it is not understood. Expected: FROM image, or FROM image AS name.")
        try:
            base = expand(said[0], self.globals, instruction.escape)
        except Unreadable as error:
            raise instruction.mistake(f"{error}.") from None
        number = len(self.carried.stages)
        earlier = self.names.get(base.lower())
        if earlier is not None:
            stage = self.carried.stages[earlier].child(number)
        elif base == "scratch":
            stage = Stage(number, empty=True)
        elif PYTHON.match(base):
            stage = Stage.first(number, self.env)
        else:
            raise instruction.mistake(
                f"the image {base[:100]!r} is not here. Expected FROM python:3.11-slim; the grader has no network and "
                "puts the course's Python image in its place."
            )
        self.carried.bases[instruction.line] = earlier if earlier is not None else "" if stage.empty else COURSE
        if len(said) == 3:
            name = said[2].lower()
            if not re.fullmatch(r"[a-z][a-z0-9_.-]*", name):
                raise instruction.mistake(f"{said[2]!r} can't be the name of a stage. Expected: a word.")
            if name in self.names:
                raise instruction.mistake(f"there is a stage {name} already. Expected: another name.")
            self.names[name] = number
        if not stage.empty and earlier is None:
            stage.notes.append(COURSE)
        self.carried.stages.append(stage)

    # -- files -------------------------------------------------------------------------------------------------------

    def _copy(self, instruction: Instruction, stage: Stage) -> None:
        owner = stage.word(instruction, instruction.flag("chown"))
        for name in owner.split(":") if owner else ():
            if not stage.knows(name):
                raise instruction.mistake(f"there is no user or group {name} yet. RUN useradd {name} before.")
        source = instruction.flag("from")
        if not source:
            copying.from_context(instruction, stage, self.context, self.budget)
            return
        if instruction.flag("chmod"):
            raise instruction.mistake(
                "--chmod with --from needs BuildKit, and the grader builds without. Write RUN chmod after it."
            )
        other = self.names.get(source.lower(), int(source) if source.isascii() and source.isdigit() else -1)
        if not 0 <= other < stage.number:
            raise instruction.mistake(
                f"there is no stage {source} above, and the grader, which has no network, has no image {source}. "
                "Expected: the name that an earlier FROM … AS gave."
            )
        made, target = copying.from_stage(instruction, stage, self.carried.stages[other], self.budget)
        self.carried.sources[instruction.line] = other, target
        self.carried.assumed.setdefault(other, []).extend(made)

    def _add(self, instruction: Instruction, stage: Stage) -> None:
        self._copy(instruction, stage)

    def _workdir(self, instruction: Instruction, stage: Stage) -> None:
        stage.workdir = "/" + stage.place(stage.word(instruction, instruction.rest))
        stage.folder(instruction, stage.workdir[1:])

    def _run(self, instruction: Instruction, stage: Stage) -> None:
        # The history of an image shows the arguments that a RUN was given.
        stage.said.extend(f"{name}={value}" for name, value in stage.args.items())
        running.carry_out(instruction, stage)
        self.carried.runs[instruction.line] = dict(stage.args), self._command(instruction, stage, instruction.rest)

    # -- variables ---------------------------------------------------------------------------------------------------

    def _env(self, instruction: Instruction, stage: Stage) -> None:
        found = self._pairs(instruction, stage)
        stage.env.update(found)
        stage.said.extend(f"{name}={value}" for name, value in found)

    def _label(self, instruction: Instruction, stage: Stage) -> None:
        stage.said.extend(f"{name}={value}" for name, value in self._pairs(instruction, stage))

    def _arg(self, instruction: Instruction, stage: Stage) -> None:
        for name, value in self._arguments(instruction, {**stage.args, **stage.env}):
            if value is not None:
                stage.args[name] = value
            elif name in self.globals:
                stage.args[name] = self.globals[name]

    def _pairs(self, instruction: Instruction, stage: Stage) -> list[tuple[str, str]]:
        try:
            raw = pairs(instruction.rest, instruction.escape)
        except Unreadable as error:
            raise instruction.mistake(f"{error}.") from None
        size = sum(len(name) + len(value) for name, value in stage.env.items())
        found = []
        for name, value in raw:
            found.append((stage.word(instruction, name), stage.word(instruction, value)))
            size += sum(map(len, found[-1]))
            if size > MOST_TEXT:
                raise instruction.mistake(f"all values together have more than {MOST_TEXT:,} characters.")
        return found

    def _arguments(self, instruction: Instruction, env: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
        size = sum(len(value) for value in env.values())
        for word in split(instruction.rest, instruction.escape):
            size += len(word) + (words.LONGEST if "$" in word else 0)
            if size > 20 * MOST_TEXT:
                raise instruction.mistake("all arguments together are too long. Expected: shorter.")
            name, equals, value = word.partition("=")
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise instruction.mistake(f"{name[:60]!r} can't be the name of an argument.")
            try:
                yield name, expand(value, env, instruction.escape) if equals else None
            except Unreadable as error:
                raise instruction.mistake(f"{error}.") from None

    # -- what it runs ------------------------------------------------------------------------------------------------

    def _command(self, instruction: Instruction, stage: Stage, text: str) -> tuple[str, ...]:
        try:
            found = listed(text)
        except Unreadable as error:
            raise instruction.mistake(f"{error}.") from None
        if found is None:
            return (*stage.shell, text) if text else ()
        return found

    def _cmd(self, instruction: Instruction, stage: Stage) -> None:
        stage.cmd = self._command(instruction, stage, instruction.rest)
        self.cmd_of[stage.number] = True

    def _entrypoint(self, instruction: Instruction, stage: Stage) -> None:
        stage.entrypoint = self._command(instruction, stage, instruction.rest)
        if not self.cmd_of.get(stage.number):  # an inherited CMD was meant for another entry point
            stage.cmd = None

    def _shell(self, instruction: Instruction, stage: Stage) -> None:
        found = self._command(instruction, stage, instruction.rest)
        if not instruction.rest.startswith("[") or not found:
            raise instruction.mistake('it is not understood. Expected: SHELL ["/bin/bash", "-c"].')
        stage.shell = found

    def _healthcheck(self, instruction: Instruction, stage: Stage) -> None:
        for name, value in instruction.flags:
            fits = value.isascii() and value.isdigit() if name == "retries" else DURATION.match(value)
            if not fits:
                expected = "a number" if name == "retries" else "a time like 30s"
                raise instruction.mistake(f"--{name}={value} is not understood. Expected: {expected}.")
        kind, _, text = instruction.rest.partition(" ")
        text = text.strip()
        if kind.upper() == "NONE" and not text:
            stage.health = ()
        elif kind.upper() == "CMD" and text:
            stage.health = self._command(instruction, stage, text)
        else:
            raise instruction.mistake("it is not understood. Expected: HEALTHCHECK CMD command, or HEALTHCHECK NONE.")

    def _user(self, instruction: Instruction, stage: Stage) -> None:
        stage.user = stage.word(instruction, instruction.rest)
        for name in stage.user.split(":"):
            if not name or not stage.knows(name):
                raise instruction.mistake(
                    f"there is no user or group {name!r} in the image. RUN useradd {name or 'app'} before it, "
                    "or give a number."
                )

    # -- what says something only ------------------------------------------------------------------------------------

    def _expose(self, instruction: Instruction, stage: Stage) -> None:
        for word in split(instruction.rest, instruction.escape):
            port = stage.word(instruction, word)
            if not PORT.match(port):
                raise instruction.mistake(f"{port!r} is no port. Expected: a number, like 8000.")

    def _stopsignal(self, instruction: Instruction, stage: Stage) -> None:
        name = stage.word(instruction, instruction.rest)
        if not re.fullmatch(r"(SIG)?[A-Z][A-Z0-9+-]*|\d{1,2}", name):
            raise instruction.mistake(f"{name!r} is no signal. Expected: SIGTERM or the like.")

    def _volume(self, instruction: Instruction, stage: Stage) -> None:
        stage.notes.append("no volume is made: a program of the pod may write to /tmp")

    def _maintainer(self, instruction: Instruction, stage: Stage) -> None:
        """Says nothing that matters here."""

    def _onbuild(self, instruction: Instruction, stage: Stage) -> None:
        raise instruction.mistake("no other image is made from yours. Leave ONBUILD out.")
