"""Builds students' images with the engine.

What a Dockerfile says is read first, as the local runtime does. Then the engine's own builder does all but RUN, in
segments: it copies what we send, and runs nothing. A RUN is a container of ours, with walls and limits that the
engine's builder does not offer (processes, capabilities, what it may write), and is committed only when what it wrote
was looked at. Nothing is taken from the engine's cache: no student's layer ever becomes another's.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autograder.errors import GraderError
from autograder.pods.docker import boxes, layers
from autograder.pods.docker.engine import Engine, failures, remove
from autograder.pods.docker.layers import env_of, health_of
from autograder.pods.docker.sending import build_context
from autograder.pods.docker.talk import Made, Make
from autograder.pods.docker.watching import Watch
from autograder.pods.dockerfile.context import Context, read_context
from autograder.pods.dockerfile.reading import Instruction, Mistake
from autograder.pods.dockerfile.steps import Carried, carry_out
from autograder.pods.process import Capture
from autograder.pods.program import MiB

ENGINE = 600  # seconds without a word from the engine
NEVER_SENT = ("VOLUME", "MAINTAINER")  # a volume would be a place to write without a limit
# What the engine says when it is the Dockerfile's fault. All else is the engine's, and no student's.
THEIRS = re.compile(
    r"(COPY|ADD) failed|can't find (uid|gid)|unable to find (user|group)|no matching entries|executable file not found"
    r"|exec: .*(no such file|permission denied|exec format)|exec format error"
)
NO_SPACE = re.compile(r"no space left|disk quota", re.IGNORECASE)
OFFLINE = re.compile(
    r"Temporary failure|Could not resolve|Name or service not known|Network is unreachable|No matching distribution"
    r"|Unable to connect|Connection refused|unable to resolve|Failed to fetch",
    re.IGNORECASE,
)


class Builder:
    """Builds the images of one pod."""

    def __init__(self, engine: Engine, base: str, labels: Mapping[str, str], submission: Path, user: int) -> None:
        """
        Args:
            engine: where.
            base: the course's Python image.
            labels: of everything that is made.
            submission: a copy of the submission that was taken in.
            user: the numeric user of the student's programs.
        """
        self.engine, self.base, self.labels, self.user = engine, base, dict(labels), user
        self.images: dict[int, str] = {}
        self.closed = threading.Event()
        self._submission = submission
        self._threads: list[threading.Thread] = []

    def begin(self, make: Make, tell: Callable[[int, Made], None], lost: Callable[[int, str], None]) -> None:
        """Builds in a thread; then calls ``tell`` with what came of it, or ``lost`` with why nobody knows."""

        def work() -> None:
            try:
                tell(make.id, self.make(make))
            except Exception as error:  # whatever it is, somebody waits for an answer
                lost(make.id, error.saw if isinstance(error, GraderError) else f"{type(error).__name__}: {error}")

        thread = threading.Thread(target=work, name=f"build {make.id}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """Begins nothing more. Its containers are removed by whoever calls this; ``join`` waits for what that ends."""
        self.closed.set()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)

    def make(self, make: Make) -> Made:
        """Builds an image. Raises GraderError."""
        with failures("looking at the course's Python image"):
            config = self.engine.client.api.inspect_image(self.base)["Config"]
        try:
            folder = os.open(self._submission / make.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            raise GraderError(f"The build context can't be read: {error}.") from error
        try:
            context = read_context(folder, make.extra, make.context_size)
            carried = carry_out(context, env_of(config), make.added_size)
        except Mistake as mistake:
            return Made(problem=str(mistake), log=str(mistake))
        finally:
            os.close(folder)
        work = _Work(self, make, context, carried)
        try:
            with failures("building an image"):
                return work.build()
        except Mistake as mistake:
            return Made(problem=str(mistake), log=f"{work.said()}{mistake}")


class _Work:
    """One build."""

    def __init__(self, builder: Builder, make: Make, context: Context, carried: Carried) -> None:
        self._builder, self._make, self._context, self._carried = builder, make, context, carried
        self._api = builder.engine.client.api
        self._left = make.seconds
        self._log = Capture()
        self._added = 0
        self._images: list[str] = []
        self._first = next(i for i in carried.instructions if i.name == "FROM")
        self._found: list[set[bytes]] = []  # the needles in what each stage's RUN wrote

    def said(self) -> str:
        return self._log.bytes().decode("utf-8", "replace")

    def build(self) -> Made:
        """Raises Mistake, and the engine's errors."""
        for number, instructions in enumerate(_stages(self._carried.instructions)):
            self._stage(number, instructions)
        image = self._images[-1]
        needles = self._make.needles
        found = set(self._carried.found(needles)) | layers.in_history(self._api, image, needles) | self._found[-1]
        config = self._api.inspect_image(image)["Config"]
        self._builder.images[self._make.id] = image
        return Made(
            log=self.said(),
            argv=(*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())),
            env=env_of(config),
            workdir=config.get("WorkingDir") or "/",
            user=config.get("User") or "",
            healthcheck=health_of(config),
            found=tuple(number for number, needle in enumerate(needles) if needle in found),
        )

    # -- a stage -----------------------------------------------------------------------------------------------------

    def _stage(self, number: int, instructions: list[Instruction]) -> None:
        base = self._carried.bases[instructions[0].line]
        image = self._images[base] if isinstance(base, int) else self._builder.base if base else ""
        self._found.append(set(self._found[base]) if isinstance(base, int) else set())
        self._step(instructions[0])
        arguments: list[Instruction] = []
        segment: list[Instruction] = []

        def flush() -> None:
            nonlocal image, segment
            if segment:
                image = self._segment(image, arguments, segment)
                arguments.extend(i for i in segment if i.name == "ARG")
                segment = []

        for instruction in instructions[1:]:
            if instruction.name == "RUN":
                flush()
                self._step(instruction)
                image = self._run(image, instruction, *self._carried.runs[instruction.line])
            elif instruction.flag("chmod"):  # by itself: the files are sent with other rights
                flush()
                segment = [instruction]
                flush()
            elif instruction.line in self._carried.sources:
                flush()
                segment = [instruction]
                flush()
                self._look_at_copy(image, instruction)
            else:
                segment.append(instruction)
        flush()
        if assumed := [path for path in self._carried.assumed.get(number, ()) if _pips(instructions)]:
            # pip has nothing to install here, and so makes no folder; what is copied from there is then empty.
            argv = ("/bin/sh", "-c", 'for path in "$@"; do [ -e "$path" ] || mkdir -p "$path"; done', "-", *assumed)
            image = self._run(image, instructions[0], {}, argv, user="0:0")
        self._images.append(image)

    def _step(self, instruction: Instruction) -> None:
        total = self._carried.instructions
        self._log.add(f"Step {total.index(instruction) + 1}/{len(total)} : {instruction}\n".encode())

    def _go_on(self) -> None:
        if self._builder.closed.is_set():
            raise GraderError("The pod is being removed.")

    # -- what the engine's builder does ------------------------------------------------------------------------------

    def _segment(self, image: str, arguments: list[Instruction], segment: list[Instruction]) -> str:
        """Instructions in a row, none of them a RUN. Gives the image that comes of them."""
        self._go_on()
        for instruction in segment:
            self._step(instruction)
        name = f".grader-{secrets.token_hex(8)}"
        labels = " ".join(f'"{key}"="{value}"' for key, value in self._builder.labels.items())
        lines = [self._text(i) for i in self._carried.instructions[: self._carried.instructions.index(self._first)]]
        lines += [f"FROM {image or 'scratch'}", f"LABEL {labels}", *(self._text(i) for i in arguments)]
        before = len(lines)
        sent = [i for i in segment if i.name not in NEVER_SENT]
        lines += [self._text(i) for i in sent]
        copies = any(i.name in ("COPY", "ADD") and not i.flag("from") for i in sent)
        mode = segment[-1].flag("chmod")
        directive = ["# escape=`"] if segment[0].escape == "`" else []
        context = build_context(name, [*directive, *lines], self._context, copies, int(mode, 8) if mode else None)
        memory = {"memory": self._make.memory, "memswap": self._make.memory}
        events = self._api.build(
            fileobj=context,
            custom_context=True,
            dockerfile=name,
            nocache=True,
            rm=True,
            forcerm=True,
            network_mode="none",
            container_limits=memory,
            timeout=ENGINE,
            decode=True,
        )
        made = ""
        at = segment[0]
        for event in events:
            if step := re.match(r"Step (\d+)/\d+ : ", event.get("stream", "")):
                place = int(step[1]) - 1 - before
                at = sent[place] if 0 <= place < len(sent) else at
            if "error" in event:
                self._blame(at, str(event["error"]))
            made = event.get("aux", {}).get("ID", made)
        if not made:
            raise GraderError("The engine built an image and did not say which.")
        return str(made)

    def _text(self, instruction: Instruction) -> str:
        """An instruction as the engine's builder is given it."""
        flags, rest = "", instruction.rest
        if instruction.name in ("COPY", "ADD"):
            if instruction.flag("from"):
                flags += f" --from={self._images[self._carried.sources[instruction.line][0]]}"
            if (owner := instruction.flag("chown")) and not re.match(r"(0|root)(:|$)", owner):
                # Programs run as the pod's user, whatever they are called in the image.
                flags += f" --chown={self._builder.user}:{self._builder.user}"
            words = rest.split()
            if not rest.startswith("[") and words[-1] == ".":
                rest = " ".join([*words[:-1], "./"])
        return f"{instruction.name}{flags} {rest}"

    def _blame(self, instruction: Instruction, error: str) -> None:
        """Says whose fault an error of the engine's is. Raises Mistake or GraderError."""
        if THEIRS.search(error) and not NO_SPACE.search(error):
            raise instruction.mistake(f"Docker says: {error.strip()[:400]}")
        raise GraderError(f"The engine could not build the image: {error}")

    def _look_at_copy(self, image: str, instruction: Instruction) -> None:
        """Looks through what a COPY brought from a stage that has a needle in what its RUN wrote."""
        stage, target = self._carried.sources[instruction.line]
        if self._found[stage]:
            container = self._builder.engine.client.containers.create(image, ["true"], labels=self._builder.labels)
            try:
                self._found[-1] |= layers.in_path(self._api, container.id, target, self._make.needles)
            finally:
                remove([container], [])

    # -- RUN ---------------------------------------------------------------------------------------------------------

    def _run(
        self, image: str, instruction: Instruction, arguments: Mapping[str, str], argv: tuple[str, ...], user: str = ""
    ) -> str:
        """Runs a command in a container of its own. Gives the image with what it wrote."""
        from docker.errors import APIError

        self._go_on()
        command = ["/usr/bin/env", *(f"{key}={value}" for key, value in arguments.items()), *argv]
        how = boxes.step(
            command if arguments else list(argv),
            self._make.memory,
            self._make.added_size,
            self._builder.engine.cores,
        )
        how |= {"user": user} if user else {}
        client = self._builder.engine.client
        container = client.containers.create(image, labels=self._builder.labels, **how)
        try:
            end = Watch(self._api, container, self._make.added_size - self._added, self._make.seconds)
            output = self._api.attach_socket(container.id, {"stdout": 1, "stderr": 1, "stream": 1})
            try:
                container.start()
            except APIError as error:
                self._blame(instruction, str(error.explanation))
            began = time.monotonic()
            shown = end.follow(output, self._log, self._left)
            self._left -= time.monotonic() - began
            code = container.wait(timeout=60)["StatusCode"]
            container.reload()
            self._judge(instruction, end.why or self._memory(container), code, shown)
            if end.wrote() > self._make.added_size - self._added:
                raise instruction.mistake(f"it wrote more than {self._make.added_size // MiB} MiB. Expected: less.")
            self._added += end.wrote()
            if end.wrote() >= min(
                map(len, self._make.needles), default=0
            ):  # less can't hold one; to look takes seconds
                self._found[-1] |= layers.in_container(self._api, container.id, self._make.needles)
            config = self._api.inspect_image(image)["Config"]
            config["Labels"] = {**(config.get("Labels") or {}), **self._builder.labels}
            return str(self._api.commit(container.id, conf=config)["Id"])
        finally:
            remove([container], [])

    def _memory(self, container: Any) -> str:
        return (
            f"used more than {self._make.memory // MiB} MiB of memory" if container.attrs["State"]["OOMKilled"] else ""
        )

    def _judge(self, instruction: Instruction, why: str, code: int, shown: bytes) -> None:
        if not why and code == 0:
            return
        self._go_on()
        lines = shown.decode("utf-8", "replace").strip().splitlines()[-6:]
        said = " It printed:\n" + "\n".join(line[:200] for line in lines) if lines else " It printed nothing."
        offline = (
            "\nThe grader has no network; the course's image has what the lab needs." if OFFLINE.search(said) else ""
        )
        raise instruction.mistake(f"it {why or f'ended with exit code {code}'}.{said}{offline}")


def _stages(instructions: list[Instruction]) -> list[list[Instruction]]:
    found: list[list[Instruction]] = []
    for instruction in instructions:
        if instruction.name == "FROM":
            found.append([instruction])
        elif found:
            found[-1].append(instruction)
    return found


def _pips(instructions: list[Instruction]) -> bool:
    """Whether a stage installs packages, which are all there already."""
    runs = (instruction.rest for instruction in instructions if instruction.name == "RUN")
    return any(re.search(r"\b(pip|venv|virtualenv)", rest) for rest in runs)
