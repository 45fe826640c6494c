"""What is known of a RUN without running it.

``pip install`` is known to work when the course's Python has what it asks for. What needs a network is known to fail.
``chmod``, ``mkdir`` and ``rm`` of what was copied are carried out, because what starts later depends on them. All else
is taken to work; the log says so.
"""

from __future__ import annotations

import functools
import importlib.metadata
import itertools
import posixpath
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from autograder.pods.dockerfile.context import FOLDER
from autograder.pods.dockerfile.image import DEEPEST, Stage
from autograder.pods.dockerfile.reading import Instruction
from autograder.pods.dockerfile.words import Unreadable, listed

LOCK = Path(__file__).resolve().parents[3] / "requirements.lock"
BETWEEN = {"&&", ";", "||", "|", "&", "(", ")", ";;"}
INSTALLERS = {"apt", "apt-get", "aptitude", "apk", "yum", "dnf", "microdnf"}
HARMLESS = {"clean", "autoclean", "autoremove", "remove", "purge", "--version"}
FETCHERS = {"curl", "wget", "git"}
ABSENT = {"uv", "poetry", "pipenv", "pdm", "conda", "mamba", "npm", "yarn", "node"}
MOST_REQUIREMENTS, MOST_FILES, MOST_CHANGES = 1000, 20, 100
BUILT_IN = {"pip", "setuptools"}
NETWORK = "the grader has no network, for students' code and for the building of images"


def carry_out(instruction: Instruction, stage: Stage) -> None:
    """Looks at a RUN. Raises Mistake when it is known to fail."""
    for key, value in instruction.flags:
        if key == "mount" and "type=cache" not in value.split(",") and "type=tmpfs" not in value.split(","):
            raise instruction.mistake(
                f"--mount={value} needs BuildKit, which the grader builds without. COPY what the command needs."
            )
    try:
        words = listed(instruction.rest)
    except Unreadable as error:
        raise instruction.mistake(f"{error}.") from None
    if words is not None and not words:
        raise instruction.mistake("the list is empty. Expected: a command.")
    stage.commands.append(instruction.rest if words is None else shlex.join(words))
    forgiving = words is None and "||" in instruction.rest
    folder = stage.workdir
    for command in [list(words)] if words is not None else _commands(instruction.rest, stage):
        name = posixpath.basename(command[0])
        if name == "cd" and len(command) > 1:
            folder = posixpath.join(folder, command[1])
            continue
        problem = _network(name, command) or _pip(command, stage, folder)
        if problem and not forgiving:
            raise instruction.mistake(problem)
        if name in ("chmod", "mkdir", "rm") and stage.changes < MOST_CHANGES:
            stage.changes += 1
            _files(name, command[1:], stage, folder)
    stage.notes.append("not run without an engine")


def _commands(text: str, stage: Stage) -> Iterator[list[str]]:
    """The simple commands of a line of shell, as far as it is one of words."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    command: list[str] = []
    try:
        for word in lexer:
            if word in BETWEEN:
                if command:
                    yield command
                command = []
            elif command or not re.match(r"\w+=|(sudo|exec|env|set|time)$", word):
                command.append(_filled(word, stage))
    except ValueError:  # quotes that only a shell understands, if any does
        return
    if command:
        yield command


def _filled(word: str, stage: Stage) -> str:
    """A word with the variables of the image, where they are plain."""
    known = {**stage.args, **stage.env}
    return re.sub(r"\$(\w+)|\$\{(\w+)\}", lambda match: known.get(match[1] or match[2], match[0]), word)[:4096]


def _network(name: str, command: list[str]) -> str:
    if name in INSTALLERS and len(command) > 1:
        does = next((word for word in command[1:] if not word.startswith("-")), "")
        if does not in HARMLESS:
            return (
                f"{name} {does} needs a network, and {NETWORK}. "
                "Expected: what the course's Python image has (Python, pip, curl) is enough."
            )
    if name in FETCHERS and any("://" in word for word in command) and not any("localhost" in w for w in command):
        return f"{name} needs a network, and {NETWORK}. Put what it fetches beside the Dockerfile, and COPY it."
    if name in ABSENT and len(command) > 1:
        return f"the course's Python image has no {name}, and {NETWORK}. Use pip install -r requirements.txt."
    return ""


# -- pip -------------------------------------------------------------------------------------------------------------


def _pip(command: list[str], stage: Stage, folder: str) -> str:
    """What is wrong with a pip command; empty when nothing is known to be."""
    if re.match(r"(.*/)?python[0-9.]*$", command[0]) and command[1:2] == ["-m"]:
        command = command[2:]
    if not command or not re.match(r"(.*/)?pip[0-9.]*$", command[0]):
        return ""
    words = [word for word in command[1:] if not word.startswith("-")]
    if elsewhere := {word.partition("=")[0] for word in command} & ELSEWHERE:
        return f"pip install {min(elsewhere)} needs a network, and {NETWORK}. Expected: plain pip install."
    if words[:1] in (["wheel"], ["download"]):
        return f"pip {words[0]} needs a network, and {NETWORK}. Expected: pip install, of what the course's image has."
    if words[:1] != ["install"]:
        return ""
    asked = itertools.islice(_asked(command, stage, folder), MOST_REQUIREMENTS)
    return next((problem for one in asked if (problem := _lacks(one))), "")


# Options of pip that take the next word.
_VALUED = (
    "-t --target --prefix --root -i --index-url --extra-index-url -f --find-links --cache-dir --timeout --retries "
    "--trusted-host --python-version --platform --progress-bar --src --only-binary --no-binary --upgrade-strategy "
    "--report --root-user-action --log"
)
VALUED = frozenset(_VALUED.split())
# Options of pip that fetch packages, whether they are there or not.
ELSEWHERE = {"-t", "--target", "--root", "-I", "--ignore-installed", "--force-reinstall"}


def _asked(command: list[str], stage: Stage, folder: str) -> Iterator[str]:
    """Requirements of a ``pip install``; with a ``!`` before it, a problem."""
    words = iter(command[command.index("install") + 1 :])
    seen: set[str] = set()
    for word in words:
        option, equals, value = word.partition("=")
        if option in ("-r", "--requirement", "-c", "--constraint"):
            path = value if equals else next(words, "")
            if option in ("-r", "--requirement"):
                yield from _file(path, stage, folder, seen)
        elif word.startswith("-r") and len(word) > 2:
            yield from _file(word[2:], stage, folder, seen)
        elif word in ("-e", "--editable"):
            yield f"!-e {next(words, '')}: a package of one's own can't be built here"
        elif option in VALUED:
            if not equals:
                next(words, "")
        elif not word.startswith("-"):
            yield word


def _file(path: str, stage: Stage, folder: str, seen: set[str]) -> Iterator[str]:
    """The requirements of a file that was copied, and that was not seen before."""
    place = stage.place(posixpath.join(folder, path))
    file = stage.files.get(place)
    if place in seen or len(seen) > MOST_FILES:
        return
    seen.add(place)
    if file is None or file.content is None:
        if "$" not in path and len(stage.commands) == 1:  # no earlier RUN can have made it
            yield f"!there is no {path} in the image at this point. COPY it before"
        return
    for line in file.content.decode("utf-8", "replace").splitlines()[:500]:
        text = re.sub(r"(^|\s)#.*", "", line).strip().rstrip("\\").strip()
        if match := re.match(r"(?:-r|--requirement)[\s=]*(\S+)$", text):
            yield from _file(match[1], stage, "/" + posixpath.dirname(place), seen)
        elif text and not text.startswith("-"):
            yield re.sub(r"\s--\S+.*", "", text)


@functools.lru_cache(MOST_REQUIREMENTS)
def _lacks(asked: str) -> str:
    """Why the course's Python does not have what is asked for; empty when it does."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    if asked.startswith("!"):
        return asked[1:] + "."
    if "$" in asked:
        return ""
    try:
        wanted = Requirement(asked[:1000])
        if wanted.marker is not None and not wanted.marker.evaluate():
            return ""
    except (InvalidRequirement, ValueError, RecursionError):
        return f"pip can't install {asked[:100]!r} here: {NETWORK}. Expected: names of packages."
    except Exception:  # a marker that can't be evaluated is pip's to judge
        return ""
    name = canonicalize_name(wanted.name)
    version = installed().get(name)
    if name in BUILT_IN:
        return ""
    if version is None:
        return (
            f"pip can't install {wanted.name}: {NETWORK}, and the course's image does not have it. "
            "Expected: packages that the course has."
        )
    if wanted.url or not wanted.specifier.contains(version, prereleases=True):
        return (
            f"pip can't install {asked[:100]}: {NETWORK}, and the course's image has {wanted.name} {version}. "
            f"Expected: {wanted.name}, or {wanted.name}>= an earlier version."
        )
    return next((problem for extra in wanted.extras if (problem := _lacks_extra(wanted.name, extra))), "")


def _lacks_extra(name: str, extra: str) -> str:
    """Why the course's Python lacks what ``name[extra]`` needs beside ``name``."""
    from packaging.requirements import Requirement

    try:
        needed = [Requirement(text) for text in importlib.metadata.requires(name) or ()]
    except importlib.metadata.PackageNotFoundError:
        return ""
    for other in needed:
        if other.marker is not None and other.marker.evaluate({"extra": extra}) and not other.marker.evaluate():
            other.marker = None
            if problem := _lacks(str(other)):
                return f"{name}[{extra}]: {problem}"
    return ""


@functools.cache
def installed() -> dict[str, str]:
    """The packages of the course's Python, as ``requirements.lock`` pins them."""
    text = LOCK.read_text("utf-8")
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==([^\s;\\]+)", text, re.MULTILINE))


# -- files -----------------------------------------------------------------------------------------------------------


def _files(name: str, words: list[str], stage: Stage, folder: str) -> None:
    """Does what ``chmod``, ``mkdir`` and ``rm`` do to files that are known."""
    plain = [word for word in words if not word.startswith("-")]
    paths = [stage.place(posixpath.join(folder, word)) for word in plain]
    below = any(word.startswith("-") and "r" in word.lower() for word in words)
    if name == "chmod" and plain:
        for path in _known(paths[1:], stage, below):
            file = stage.files[path]
            if not file.folder and (mode := _changed(plain[0], file.mode)) is not None:
                stage.files[path] = replace(file, mode=mode)
    elif name == "mkdir":
        for path in paths[:100]:
            parts = path.split("/")[:DEEPEST] if path else []
            for size in range(1, len(parts) + 1):
                stage.files.setdefault("/".join(parts[:size]), FOLDER)
    elif name == "rm":
        for path in _known(paths, stage, below):
            stage.files.pop(path, None)


def _known(paths: list[str], stage: Stage, below: bool) -> list[str]:
    found = [path for path in paths[:100] if path in stage.files]
    if below:
        tops = tuple(path + "/" for path in found if path)
        found += [path for path in stage.files if path.startswith(tops)] if tops else []
    return found


def _changed(how: str, mode: int) -> int | None:
    if re.fullmatch(r"0?[0-7]{3}", how):
        return int(how, 8)
    for change in how.split(","):
        match = re.fullmatch(r"([ugoa]*)([+-])([rwx]+)", change)
        if match is None:
            return None
        bits = sum({"r": 4, "w": 2, "x": 1}[letter] for letter in set(match[3]))
        who = "ugo" if not match[1] or "a" in match[1] else match[1]
        mask = sum(bits << {"u": 6, "g": 3, "o": 0}[letter] for letter in set(who))
        mode = mode | mask if match[2] == "+" else mode & ~mask
    return mode
