"""The command line, as TensorFlow's own flag parser reads it.

`--name=value` only; a bare `--name` turns a boolean on; the last one counts. An unknown argument prints the usage and
the server starts all the same; a value of the wrong type prints the usage and ends it. Flags that mean nothing
here (GPU, TPU, profiler …) are accepted and have no effect.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final

from . import logs

_TRUE: Final = ("true", "t", "1", "yes", "y")
_FALSE: Final = ("false", "f", "0", "no", "n")
_BITS: Final = {"int32": 31, "int64": 63}

_PARSER: Final = "external/local_xla/xla/tsl/util/command_line_flags.cc"
_PARSER_LINES: Final = {"bool": 109}
_INTEGER: Final = re.compile(r"\s*[+-]?[0-9]+\s*")

Value = bool | int | float | str


class UsageError(Exception):
    """A flag has a value that is not of its type; the usage has been printed."""


@dataclass(frozen=True, slots=True)
class _Flag:
    name: str
    kind: str
    default: str
    description: str

    def value(self, text: str) -> Value:
        """`text` as this flag's type; ValueError if it is none."""
        if self.kind == "string":
            return text
        if self.kind == "bool":
            if text.lower() in _TRUE:
                return True
            if text.lower() in _FALSE:
                return False
            raise ValueError(text)
        if self.kind == "float":
            return float(text)
        if not _INTEGER.fullmatch(text):
            raise ValueError(text)
        number = int(text)
        if not -(1 << _BITS[self.kind]) <= number < 1 << _BITS[self.kind]:
            raise ValueError(text)
        return number


def _known_flags() -> dict[str, _Flag]:
    text = (resources.files(__package__) / "flags.tsv").read_text("utf-8")
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    return {row[0]: _Flag(*row) for row in rows}


class Flags:
    """The values of all flags, given or default."""

    def __init__(self, arguments: Sequence[str]) -> None:
        """Reads the command line (without the program's name).

        Raises:
            UsageError: a value is not of its flag's type, or the usage was asked for.
        """
        known = _known_flags()
        self._values: dict[str, Value] = {flag.name: flag.value(flag.default.strip('"')) for flag in known.values()}
        unknown = []
        for argument in arguments:
            name, equals, text = argument.removeprefix("--").partition("=")
            flag = known.get(name) if argument.startswith("--") else None
            if argument == "--help":
                print_usage(known)
                raise UsageError
            if flag is None or not (equals or flag.kind == "bool"):
                unknown.append(argument)
                continue
            try:
                self._values[name] = flag.value(text) if equals else True
            except ValueError:
                place = f"{_PARSER}:{_PARSER_LINES.get(flag.kind, 55)}"
                logs.log("E", place, f"Couldn't interpret value {text} for flag {name}.")
                print_usage(known)
                raise UsageError from None
        if unknown:
            # The real server names the first one and goes on.
            logs.say(f"unknown argument: {unknown[0]}")
            print_usage(known)

    def text(self, name: str) -> str:
        """The value of a string flag."""
        return str(self._values[name])

    def number(self, name: str) -> int:
        """The value of an integer flag."""
        return int(self._values[name])

    def on(self, name: str) -> bool:
        """The value of a boolean flag."""
        return bool(self._values[name])


def print_usage(known: dict[str, _Flag]) -> None:
    """Prints the usage as the real server does."""
    lines = ["usage: tensorflow_model_server", "Flags:"]
    for flag in known.values():
        lines.append(f"\t{f'--{flag.name}={flag.default}':33}\t{flag.kind}\t{flag.description}")
    logs.say("\n".join(lines))
