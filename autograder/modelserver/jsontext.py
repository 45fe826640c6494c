"""JSON values as RapidJSON prints them, in error texts and as strings in answers."""

from __future__ import annotations

import math
import re
from typing import Any, Final

from .jsonvalue import Members

_SPECIAL: Final = re.compile(r'["\\\x00-\x1f]')
_SHORT: Final = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def quoted(text: str) -> str:
    """`text` as a JSON string: only what must be escaped is."""
    if _SPECIAL.search(text):
        text = _SPECIAL.sub(lambda found: _SHORT.get(found[0]) or f"\\u{ord(found[0]):04X}", text)
    return f'"{text}"'


def error_document(message: str) -> bytes:
    """The body of every failed REST request."""
    return f'{{\n    "error": {quoted(message)}\n}}'.encode("utf-8", "surrogateescape")


def pretty(value: Any) -> str:
    """`value` as error texts show it: four spaces an object level, arrays on one line."""
    parts: list[str] = []
    pending: list[Any] = [(value, 0)]
    while pending:
        item = pending.pop()
        if isinstance(item, _Text):
            parts.append(item)
            continue
        current, depth = item
        if isinstance(current, (list, Members)) and current:
            pending.extend(reversed(_laid_out(current, depth + 1)))
        elif isinstance(current, Members):
            parts.append("{}")
        elif isinstance(current, list):
            parts.append("[]")
        else:
            parts.append(_scalar(current))
    return "".join(parts)


class _Text(str):
    """A piece of output that is already text."""

    __slots__ = ()


def _laid_out(container: list[Any], depth: int) -> list[Any]:
    laid_out: list[Any] = []
    if isinstance(container, Members):
        indent = "\n" + "    " * depth
        for index, (key, value) in enumerate(container):
            laid_out.append(_Text(f"{',' if index else '{'}{indent}{quoted(key)}: "))
            laid_out.append((value, depth))
        laid_out.append(_Text("\n" + "    " * (depth - 1) + "}"))
    else:
        for index, value in enumerate(container):
            laid_out.append(_Text(", " if index else "["))
            laid_out.append((value, depth))
        laid_out.append(_Text("]"))
    return laid_out


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _double(value)
    return quoted(value) if isinstance(value, str) else str(value)


def _double(value: float) -> str:
    """The shortest digits that read back, laid out as RapidJSON's Prettify does."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "-Infinity" if value < 0 else "Infinity"
    if value == 0:
        return "-0.0" if math.copysign(1, value) < 0 else "0.0"
    sign = "-" if value < 0 else ""
    mantissa, _, power = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(power or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    if len(digits) <= point <= 21:
        return f"{sign}{digits.ljust(point, '0')}.0"
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    rest = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{rest}e{point - 1}"
