"""The text of a Dockerfile as instructions: lines that go on, comments, flags.

Source: Docker's own parser (``frontend/dockerfile/parser`` of BuildKit), whose rules these are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LARGEST = 64 << 10
MOST = 200  # instructions
_KNOWN = (
    "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER "
    "VOLUME WORKDIR"
)
KNOWN = frozenset(_KNOWN.split())
FLAGS = {
    "FROM": {"platform"},
    "COPY": {"from", "chown", "chmod", "link"},
    "ADD": {"chown", "chmod", "link"},
    "RUN": {"mount"},
    "HEALTHCHECK": {"interval", "timeout", "start-period", "start-interval", "retries"},
}
HEREDOC = re.compile(r"(?:^|\s)<<-?\s*['\"]?[A-Za-z_]")


class Mistake(Exception):
    """What is wrong with a Dockerfile, in sentences for the student."""


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes:
        line: where it begins, counted from 1.
        name: in capitals.
        flags: ``--name=value``, in their order.
        rest: what follows, on one line.
        escape: the escape character, a backslash as a rule.
    """

    line: int
    name: str
    flags: tuple[tuple[str, str], ...]
    rest: str
    escape: str = "\\"

    def flag(self, name: str) -> str:
        return next((value for key, value in self.flags if key == name), "")

    def __str__(self) -> str:
        flags = "".join(f" --{key}={value}" for key, value in self.flags)
        text = f"{self.name}{flags} {self.rest}".strip()
        return text if len(text) <= 160 else text[:159] + "…"

    def mistake(self, what: str) -> Mistake:
        """A Mistake that names this instruction."""
        return Mistake(f"Dockerfile line {self.line}: {self}: {what[:1000]}")


def read(content: bytes) -> list[Instruction]:
    """The instructions of a Dockerfile. Raises Mistake."""
    if len(content) > LARGEST:
        raise Mistake(f"The Dockerfile has {len(content):,} bytes. Expected: at most {LARGEST:,}.")
    try:
        lines = [line.removesuffix("\r") for line in content.decode("utf-8-sig").split("\n")]
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise Mistake(f"Dockerfile line {line} is not UTF-8. Expected: a text file; save it as UTF-8.") from None
    if "\0" in "".join(lines):
        raise Mistake("The Dockerfile has a zero byte in it. Expected: a text file.")
    found = [_instruction(*whole) for whole in _joined(lines)]
    if not found:
        raise Mistake('The Dockerfile has no instruction in it. Expected: FROM python:3.11-slim, COPY …, CMD ["…"].')
    if len(found) > MOST:
        raise Mistake(f"The Dockerfile has {len(found)} instructions. Expected: at most {MOST}.")
    return found


def _joined(lines: list[str]) -> list[tuple[int, str, str]]:
    """Each instruction's first line, its text without line ends, and the escape character."""
    escape = _escape(lines)
    goes_on = re.compile(rf"(?:(?<=[^{re.escape(escape)}])|^){re.escape(escape)}[ \t]*$")
    found: list[tuple[int, str, str]] = []
    parts: list[str] = []
    first = 0
    for number, line in enumerate(lines, 1):
        text = line if parts else line.lstrip()
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        first = first if parts else number
        cut = goes_on.sub("", text)
        parts.append(cut)
        if cut == text:
            found.append((first, "".join(parts).strip(), escape))
            parts = []
    if "".join(parts).strip():
        found.append((first, "".join(parts).strip(), escape))
    return [whole for whole in found if whole[1]]


def _escape(lines: list[str]) -> str:
    """The escape character, which a comment on top may change."""
    for line in lines:
        directive = re.match(r"^#\s*([a-zA-Z]\w*)\s*=\s*(.+?)\s*$", line)
        if directive is None:
            break
        if directive[1].lower() == "escape":
            if directive[2] not in ("\\", "`"):
                raise Mistake(f"Dockerfile: # escape={directive[2]}: expected a backslash or a backtick.")
            return directive[2]
    return "\\"


def _instruction(line: int, text: str, escape: str) -> Instruction:
    name, *after = re.split(r"[\t\v\f\r ]+", text, maxsplit=1)
    rest = after[0].strip() if after else ""
    upper = name.upper()
    if upper not in KNOWN:
        said = name if len(name) <= 60 else name[:59] + "…"
        raise Mistake(
            f"Dockerfile line {line}: {said!r} is no instruction. Expected one of {', '.join(sorted(KNOWN))}."
        )
    flags: list[tuple[str, str]] = []
    while upper in FLAGS and (match := re.match(r"--([a-z][a-z-]*)(?:=(\S*))?(?:\s+|$)", rest)):
        flags.append((match[1], match[2] or ""))
        rest = rest[match.end() :]
    found = Instruction(line, upper, tuple(flags), rest, escape)
    for key, _ in flags:
        if key not in FLAGS[upper]:
            raise found.mistake(f"{upper} has no --{key} here. Known are {_listed(FLAGS[upper])}.")
    if upper in ("RUN", "COPY", "ADD") and HEREDOC.search(rest):
        raise found.mistake("<< needs BuildKit, and the grader builds without. Write && between commands.")
    if not rest and upper not in ("CMD", "ENTRYPOINT"):
        raise found.mistake(f"{upper} needs something after it.")
    return found


def _listed(flags: set[str]) -> str:
    return ", ".join(f"--{flag}" for flag in sorted(flags))
