"""Protocol buffers' text format, read with the error texts and positions of the C++ reader.

A student who mistypes a configuration file sees the message that the real server would have logged, such as
`1:45: Message type "tensorflow.serving.ModelConfig" has no field named "foo".`
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final


class SyntaxProblem(Exception):
    """The text is not what the message type asks for: `line:column: reason`, both from 1."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # identifier, integer, float, string, symbol, end
    text: str
    line: int
    column: int


_TOKENS: Final = re.compile(
    r"""(?P<space>[ \t\r\v\f]+|\#[^\n]*)|(?P<newline>\n)
    |(?P<float>\d+\.\d*(?:[eE][-+]?\d+)?[fF]?|\.\d+(?:[eE][-+]?\d+)?[fF]?|\d+[eE][-+]?\d+[fF]?|\d+[fF])
    |(?P<integer>0[xX][0-9a-fA-F]+|\d+)
    |(?P<identifier>[A-Za-z_]\w*)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<symbol>.)""",
    re.VERBOSE,
)
_ESCAPE: Final = re.compile(r"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|(.))", re.DOTALL)
_ESCAPED: Final = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_CLOSING: Final = {"{": "}", "<": ">"}


def _tokens(text: str) -> Iterator[_Token]:
    line, start = 1, 0
    for found in _TOKENS.finditer(text):
        kind = found.lastgroup or "symbol"
        column = found.start() - start + 1
        if kind == "newline":
            line, start = line + 1, found.end()
        elif kind != "space":
            yield _Token(kind, found[0], line, column)
    yield _Token("end", "", line, len(text) - start + 1)


def parse(text: str, message: Any) -> list[str]:
    """Merges `text` into `message`.

    Returns:
        Warnings, e.g. for deprecated fields.

    Raises:
        SyntaxProblem: with the position of the first error.
    """
    parser = _Parser(text)
    parser.fields(message, "")
    return parser.warnings


class _Parser:
    def __init__(self, text: str) -> None:
        self._stream = _tokens(text)
        self._now = next(self._stream)
        self.warnings: list[str] = []

    def fields(self, message: Any, closing: str) -> None:
        """Reads fields up to the closing bracket, or to the end of the text for closing == ""."""
        seen: set[str] = set()
        while not (self._now.text == closing and (closing or self._now.kind == "end")):
            self._field(message, seen)
        if closing:
            self._advance()

    def _field(self, message: Any, seen: set[str]) -> None:
        start = self._now
        name = self._identifier()
        field = message.DESCRIPTOR.fields_by_name.get(name)
        if field is None:
            # The C++ reader notices after the name, so it reports the token behind it.
            raise self._problem(f'Message type "{message.DESCRIPTOR.full_name}" has no field named "{name}".')
        if field.GetOptions().deprecated:
            self.warnings.append(
                f'{self._now.line}:{self._now.column} (N = 1): text format contains deprecated field "{name}"'
            )
        if not field.is_repeated:
            if name in seen:
                raise self._problem(f'Non-repeated field "{name}" is specified multiple times.')
            oneof = field.containing_oneof
            if oneof is not None and message.WhichOneof(oneof.name) not in (None, name):
                other = message.WhichOneof(oneof.name)
                raise self._problem(
                    f'Field "{name}" is specified along with field "{other}", another member of oneof "{oneof.name}".',
                    start,
                )
            seen.add(name)
        if field.message_type is not None:
            self._accept(":")
        else:
            self._consume(":")
        if field.is_repeated and self._accept("["):
            if not self._accept("]"):
                while True:
                    self._value(message, field)
                    if self._accept("]"):
                        break
                    self._consume(",")
        else:
            self._value(message, field)
        if not self._accept(";"):
            self._accept(",")

    def _value(self, message: Any, field: Any) -> None:
        if field.message_type is not None:
            self._message(message, field)
            return
        value = self._scalar(field)
        if field.is_repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)

    def _message(self, message: Any, field: Any) -> None:
        opening = self._now.text
        if opening not in _CLOSING or self._now.kind != "symbol":
            raise self._problem(f'Expected "{{", found "{opening}".')
        self._advance()
        if field.message_type.GetOptions().map_entry:
            entry = _MapEntry(field.message_type)
            self.fields(entry, _CLOSING[opening])
            getattr(message, field.name)[entry.key] = entry.value
        elif field.is_repeated:
            self.fields(getattr(message, field.name).add(), _CLOSING[opening])
        else:
            inner = getattr(message, field.name)
            inner.SetInParent()
            self.fields(inner, _CLOSING[opening])

    def _scalar(self, field: Any) -> Any:
        cpp = field.cpp_type
        if cpp == field.CPPTYPE_STRING:
            content = self._string()
            return content if field.type == field.TYPE_BYTES else content.decode("utf-8", "replace")
        if cpp == field.CPPTYPE_BOOL:
            return self._bool(field)
        if cpp == field.CPPTYPE_ENUM:
            return self._enum(field)
        if cpp in (field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT):
            negative = self._accept("-")
            if self._now.kind not in ("float", "integer"):
                raise self._problem(f"Expected double, got: {self._now.text}")
            return (-1 if negative else 1) * float(self._advance().text.rstrip("fF"))
        unsigned = cpp in (field.CPPTYPE_UINT32, field.CPPTYPE_UINT64)
        bits = 32 if cpp in (field.CPPTYPE_UINT32, field.CPPTYPE_INT32) else 64
        return self._integer(0 if unsigned else -(2 ** (bits - 1)), 2**bits - 1 if unsigned else 2 ** (bits - 1) - 1)

    def _integer(self, lowest: int, highest: int) -> int:
        negative = lowest < 0 and self._accept("-")
        if self._now.kind != "integer":
            raise self._problem(f"Expected integer, got: {self._now.text}")
        text = self._now.text
        octal = len(text) > 1 and text.isdigit() and text[0] == "0"
        value = int(text, 8) if octal else int(text, 0)
        if not lowest <= (-value if negative else value) <= highest:
            raise self._problem(f"Integer out of range ({text})")
        self._advance()
        return -value if negative else value

    def _bool(self, field: Any) -> bool:
        if self._now.kind == "integer":
            return bool(self._integer(0, 1))
        if self._now.kind != "identifier":
            raise self._problem(f"Expected identifier, got: {self._now.text}")
        text = self._advance().text
        if text in ("true", "True", "t"):
            return True
        if text in ("false", "False", "f"):
            return False
        raise self._problem(f'Invalid value for boolean field "{field.name}". Value: "{text}".')

    def _enum(self, field: Any) -> int:
        if self._now.kind == "identifier":
            name = self._advance().text
            value = field.enum_type.values_by_name.get(name)
            if value is None:
                raise self._problem(f'Unknown enumeration value of "{name}" for field "{field.name}".')
            return int(value.number)
        if self._now.kind != "integer" and self._now.text != "-":
            raise self._problem(f"Expected integer or identifier, got: {self._now.text}")
        return self._integer(-(2**31), 2**31 - 1)

    def _string(self) -> bytes:
        if self._now.kind != "string":
            if self._now.text in ('"', "'"):
                raise self._problem("String literals cannot cross line boundaries.")
            raise self._problem(f"Expected string, got: {self._now.text}")
        content = b""
        while self._now.kind == "string":
            content += _ESCAPE.sub(_unescape, self._advance().text[1:-1]).encode("utf-8", "surrogateescape")
        return content

    def _identifier(self) -> str:
        if self._now.kind != "identifier":
            raise self._problem(f"Expected identifier, got: {self._now.text}")
        return self._advance().text

    def _consume(self, symbol: str) -> None:
        if not self._accept(symbol):
            raise self._problem(f'Expected "{symbol}", found "{self._now.text}".')

    def _accept(self, symbol: str) -> bool:
        if self._now.kind == "symbol" and self._now.text == symbol:
            self._advance()
            return True
        return False

    def _advance(self) -> _Token:
        passed = self._now
        self._now = next(self._stream, passed)
        return passed

    def _problem(self, reason: str, at: _Token | None = None) -> SyntaxProblem:
        token = at or self._now
        return SyntaxProblem(f"{token.line}:{token.column}: {reason}")


class _MapEntry:
    """Stands in for a map entry's message, which the Python classes keep to themselves."""

    def __init__(self, descriptor: Any) -> None:
        self.DESCRIPTOR = descriptor
        scalar_defaults = {descriptor.fields_by_name[name].name: name for name in ("key", "value")}
        self.key: Any = descriptor.fields_by_name[scalar_defaults["key"]].default_value
        self.value: Any = descriptor.fields_by_name[scalar_defaults["value"]].default_value


def _unescape(found: re.Match[str]) -> str:
    octal, hexadecimal, other = found.groups()
    if octal:
        code = int(octal, 8) & 255
    elif hexadecimal:
        code = int(hexadecimal, 16)
    else:
        code = _ESCAPED.get(other, ord(other))
    return bytes([code]).decode("utf-8", "surrogateescape") if code < 256 else other
