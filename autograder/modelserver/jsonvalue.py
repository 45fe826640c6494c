"""JSON as RapidJSON 1.1 reads it, with its error texts and offsets.

TensorFlow Serving parses with RapidJSON; what it accepts (`NaN`, `Inf`, a byte order mark, bytes after the
document, duplicate keys, any bytes in strings) and how it words an error differ from Python's `json`. This is the
exact and slow reader: `jsonin` uses it for everything that its fast way does not take. It never recurses, so depth
is limited by memory alone.

A value is None, bool, int, float, str (bytes that are not UTF-8 kept as surrogate escapes), list, or `Members`.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

from .errors import StatusError, invalid_argument


class Members(list[tuple[str, Any]]):
    """A JSON object: its members in order, duplicates included."""

    def find(self, name: str) -> Any:
        """The value of the first member called `name`; `MISSING` if there is none."""
        for key, value in self:
            if key == name:
                return value
        return MISSING


MISSING: Final = object()
"""What `Members.find` returns for no such member (null is a value)."""

_SPACE: Final = re.compile(rb"[ \t\n\r]*")
_PLAIN: Final = re.compile(rb'[^"\\\x00-\x1f]*')
_ESCAPES: Final = {
    0x22: '"',
    0x5C: "\\",
    0x2F: "/",
    0x62: "\b",
    0x66: "\f",
    0x6E: "\n",
    0x72: "\r",
    0x74: "\t",
}
_WORDS: Final[dict[int, tuple[bytes, Any]]] = {
    0x6E: (b"null", None),
    0x74: (b"true", True),
    0x66: (b"false", False),
}
_DIGITS: Final = frozenset(b"0123456789")
_BOM: Final = b"\xef\xbb\xbf"


def parse(body: bytes) -> Any:
    """The first JSON value in `body`; what follows it is ignored.

    Raises:
        StatusError: INVALID_ARGUMENT, `JSON Parse error: … at offset: N`, N in bytes.
    """
    return _Parser(body).document()


class _Parser:
    def __init__(self, body: bytes) -> None:
        # A NUL ends RapidJSON's input; with one appended no position needs a bounds check.
        self._body = body + b"\0"
        self._at = len(_BOM) if body.startswith(_BOM) else 0

    def document(self) -> Any:
        self._skip_space()
        if self._body[self._at] == 0:
            raise self._error("The document is empty.")
        open_values: list[Any] = []
        keys: list[str] = []
        while True:
            value, is_open = self._value()
            if is_open:
                open_values.append(value)
                if isinstance(value, Members):
                    keys.append(self._key())
                continue
            while True:
                if not open_values:
                    return value
                container = open_values[-1]
                more, closing = self._add(container, keys, value)
                if more:
                    break
                assert closing
                value = open_values.pop()
            if isinstance(container, Members):
                keys.append(self._key())

    def _add(self, container: Any, keys: list[str], value: Any) -> tuple[bool, bool]:
        """Puts `value` into its container and reads the comma or the end: (comma, end)."""
        in_object = isinstance(container, Members)
        container.append((keys.pop(), value) if in_object else value)
        self._skip_space()
        end = 0x7D if in_object else 0x5D
        found = self._body[self._at]
        if found not in (0x2C, end):
            raise self._error(
                "Missing a comma or '}' after an object member."
                if in_object
                else "Missing a comma or ']' after an array element."
            )
        self._at += 1
        if found == 0x2C:
            self._skip_space()
        return found == 0x2C, found == end

    def _value(self) -> tuple[Any, bool]:
        """Reads a value; for an array or object with members only its start: (value, still open)."""
        first = self._body[self._at]
        if first == 0x22:
            return self._string(), False
        if first in (0x5B, 0x7B):
            self._at += 1
            self._skip_space()
            container: Any = [] if first == 0x5B else Members()
            if self._body[self._at] == (0x5D if first == 0x5B else 0x7D):
                self._at += 1
                return container, False
            return container, True
        if first in _WORDS:
            word, value = _WORDS[first]
            for expected in word:
                if self._body[self._at] != expected:
                    raise self._error("Invalid value.")
                self._at += 1
            return value, False
        return self._number(), False

    def _key(self) -> str:
        if self._body[self._at] != 0x22:
            raise self._error("Missing a name for object member.")
        key = self._string()
        self._skip_space()
        if self._body[self._at] != 0x3A:
            raise self._error("Missing a colon after a name of object member.")
        self._at += 1
        self._skip_space()
        return key

    def _string(self) -> str:
        parts: list[str] = []
        self._at += 1
        while True:
            plain = _PLAIN.match(self._body, self._at)
            assert plain is not None
            parts.append(plain[0].decode("utf-8", "surrogateescape"))
            self._at = plain.end()
            found = self._body[self._at]
            if found == 0x22:
                self._at += 1
                return parts[0] if len(parts) == 1 else "".join(parts)
            if found == 0:
                raise self._error("Missing a closing quotation mark in string.")
            if found != 0x5C:
                raise self._error("Invalid encoding in string.")
            parts.append(self._escape())

    def _escape(self) -> str:
        start = self._at
        kind = self._body[start + 1]
        if kind in _ESCAPES:
            self._at += 2
            return _ESCAPES[kind]
        if kind != 0x75:
            raise self._error("Invalid escape character in string.", start)
        point = self._hex4(start + 2, start)
        self._at = start + 6
        if 0xD800 <= point <= 0xDFFF:
            invalid = "The surrogate pair in string is invalid."
            if point > 0xDBFF or self._body[self._at : self._at + 2] != b"\\u":
                raise self._error(invalid, start)
            low = self._hex4(self._at + 2, start)
            if not 0xDC00 <= low <= 0xDFFF:
                raise self._error(invalid, start)
            self._at += 6
            point = (((point - 0xD800) << 10) | (low - 0xDC00)) + 0x10000
        return chr(point)

    def _hex4(self, at: int, start: int) -> int:
        digits = self._body[at : at + 4]
        if not re.fullmatch(rb"[0-9a-fA-F]{4}", digits):
            raise self._error("Incorrect hex digit after \\u escape in string.", start)
        return int(digits, 16)

    def _number(self) -> int | float:
        """RapidJSON's ParseNumber without full precision: its last digits are its own."""
        body, start = self._body, self._at
        minus = body[start] == 0x2D
        self._at += minus
        first = body[self._at]
        if first in b"IN":
            return self._nan_or_infinity(minus)
        if first not in _DIGITS:
            raise self._error("Invalid value.")
        integer = self._integer(minus)
        number = integer
        exponent = 0
        if body[self._at] == 0x2E:
            self._at += 1
            if body[self._at] not in _DIGITS:
                raise self._error("Miss fraction part in number.")
            number, exponent = self._fraction(integer)
        shift = 0
        if body[self._at] in b"eE":
            number = float(number)
            shift = self._exponent(start, exponent)
        if isinstance(number, int):
            return -number if minus else number
        number = _scale(number, shift + exponent)
        if math.isinf(number):
            raise self._error("Number too big to be stored in double.", start)
        return -number if minus else number

    def _integer(self, minus: bool) -> int | float:
        body = self._body
        end = self._at + 1
        if body[self._at] != 0x30:
            while body[end] in _DIGITS:
                end += 1
        digits = body[self._at : end]
        self._at = end
        limit = 2**63 if minus else 2**64 - 1
        if len(digits) < 20 or (len(digits) == 20 and int(digits) <= limit):
            value = int(digits)
            if value <= limit:
                return value
        # As many digits as fit go into an integer, the rest are added in floating point.
        exact = 0
        for position, digit in enumerate(digits):
            longer = exact * 10 + digit - 0x30
            if longer > limit:
                rough = float(exact)
                for rest in digits[position:]:
                    rough = rough * 10 + (rest - 0x30)
                return rough
            exact = longer
        return exact

    def _fraction(self, integer: int | float) -> tuple[float, int]:
        body = self._body
        exponent = 0
        significant = len(str(integer)) - 1 if isinstance(integer, int) else 20
        value: float
        if isinstance(integer, int):
            whole = integer
            while body[self._at] in _DIGITS and whole <= 2**53 - 1:
                whole = whole * 10 + body[self._at] - 0x30
                exponent -= 1
                significant += whole != 0
                self._at += 1
            value = float(whole)
        else:
            value = integer
        while body[self._at] in _DIGITS:
            if significant < 17:
                value = value * 10.0 + (body[self._at] - 0x30)
                exponent -= 1
                significant += value > 0.0
            self._at += 1
        return value, exponent

    def _exponent(self, start: int, fraction: int) -> int:
        body = self._body
        self._at += 1
        negative = body[self._at] == 0x2D
        self._at += body[self._at] in b"+-"
        if body[self._at] not in _DIGITS:
            raise self._error("Miss exponent in number.")
        value = 0
        while body[self._at] in _DIGITS:
            value = min(value * 10 + body[self._at] - 0x30, 10**9)
            self._at += 1
            if not negative and value > 308 - fraction:
                raise self._error("Number too big to be stored in double.", start)
        return -value if negative else value

    def _nan_or_infinity(self, minus: bool) -> float:
        body = self._body
        for word in (b"NaN", b"Inf"):
            if body[self._at] != word[0]:
                continue
            for expected in word:
                if body[self._at] != expected:
                    raise self._error("Invalid value.")
                self._at += 1
            if word == b"NaN":
                return math.nan
            if body[self._at] == 0x69:
                for expected in b"inity":
                    if body[self._at] != expected:
                        raise self._error("Invalid value.")
                    self._at += 1
        return -math.inf if minus else math.inf

    def _skip_space(self) -> None:
        found = _SPACE.match(self._body, self._at)
        assert found is not None
        self._at = found.end()

    def _error(self, text: str, at: int | None = None) -> StatusError:
        return invalid_argument(f"JSON Parse error: {text} at offset: {self._at if at is None else at}")


def _scale(value: float, exponent: int) -> float:
    """value * 10**exponent as RapidJSON's StrtodNormalPrecision."""
    if exponent < -308:
        value = value / 1e308
        exponent += 308
        return 0.0 if exponent < -308 else value / float(f"1e{-exponent}")
    if exponent < 0:
        return value / float(f"1e{-exponent}")
    return value * float(f"1e{exponent}")
