"""Plain values as JSON and back: what may cross between the invigilator and a desk.

Numbers, texts, lists, dictionaries, paths and NumPy arrays come out as what they went in, in exactly these types: a
subclass with an ``__eq__`` of its own does not get through. Uses nothing but the standard library (NumPy only when a
value needs it), because a desk runs this file on its own.
"""

from __future__ import annotations

import base64
import json
import math
import re
import sys
from pathlib import PurePath
from types import SimpleNamespace
from typing import Any

MOST = 64 << 20  # bytes of one message
DEEPEST = 60
TAG = "~"
_DTYPE = re.compile(r"^[<>|=]?[biuf]\d{1,2}$|^[<>|=]?U\d{1,4}$")


class NotPlain(Exception):
    """A value that can't cross. Says what it is."""


def dumps(value: Any) -> bytes:
    """One line. Raises NotPlain when the value can't cross."""
    try:
        line = json.dumps(pack(value)).encode() + b"\n"
    except (RecursionError, ValueError) as error:
        raise NotPlain(f"a value that is too deep or too long ({error})") from None
    if len(line) > MOST:
        raise NotPlain(f"a value of {len(line) >> 20} MiB")
    return line


def loads(line: bytes) -> Any:
    """The value of one line. Raises NotPlain when it is not one that ``dumps`` writes."""
    try:
        return unpack(json.loads(line))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError, MemoryError) as error:
        raise NotPlain(f"something that can't be read ({type(error).__name__})") from None


def pack(value: Any, depth: int = 0) -> Any:
    """A value in JSON's types. Raises NotPlain."""
    if depth > DEEPEST:
        raise NotPlain("a value that is nested too deep")
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else {TAG: "float", "v": repr(value)}
    if kind is list:
        return [pack(one, depth + 1) for one in value]
    if kind in (tuple, set, frozenset):
        return {TAG: kind.__name__, "v": [pack(one, depth + 1) for one in value]}
    if kind is dict:
        return {TAG: "dict", "v": [[pack(key, depth + 1), pack(one, depth + 1)] for key, one in value.items()]}
    if kind is bytes:
        return {TAG: "bytes", "v": base64.b64encode(value).decode()}
    if isinstance(value, PurePath):
        return {TAG: "path", "v": str(value)}
    if kind is SimpleNamespace:
        return {TAG: "object", "v": {name: pack(one, depth + 1) for name, one in vars(value).items()}}
    numpy = sys.modules.get("numpy")
    if numpy is not None and (kind is numpy.ndarray or isinstance(value, numpy.generic)):
        dtype = value.dtype.str
        if _DTYPE.match(dtype):
            return {TAG: "array", "dtype": dtype, "shape": list(value.shape), "v": _numbers(value.ravel().tolist())}
    raise NotPlain(f"a value of the type {kind.__module__}.{kind.__qualname__}"[:200])


def unpack(value: Any) -> Any:
    """What ``pack`` was given. Raises an exception of Python's own when ``value`` is not what it gives."""
    if isinstance(value, list):
        return [unpack(one) for one in value]
    if not isinstance(value, dict):
        return value
    content = value["v"]
    match value[TAG]:
        case "float":
            return float(content) if content in ("inf", "-inf", "nan") else _wrong(content)
        case "tuple":
            return tuple(unpack(one) for one in content)
        case "set":
            return {unpack(one) for one in content}
        case "frozenset":
            return frozenset(unpack(one) for one in content)
        case "dict":
            return {unpack(key): unpack(one) for key, one in content}
        case "bytes":
            return base64.b64decode(content, validate=True)
        case "path":
            from pathlib import Path

            return Path(content)
        case "object":
            return SimpleNamespace(**{name: unpack(one) for name, one in content.items()})
        case "array":
            return _array(value["dtype"], value["shape"], content)
    return _wrong(value[TAG])


def _numbers(values: list[Any]) -> list[Any]:
    return [repr(one) if isinstance(one, float) and not math.isfinite(one) else one for one in values]


def _array(dtype: str, shape: list[int], values: list[Any]) -> Any:
    import numpy

    if not _DTYPE.match(dtype) or len(shape) > 16 or len(values) * numpy.dtype(dtype).itemsize > MOST:
        _wrong(dtype)
    if "f" in dtype:
        values = [float(one) for one in values]  # "nan" and "inf" were written as text
    array = numpy.array(values, dtype=dtype).reshape([int(size) for size in shape])
    return array if shape else array[()]


def _wrong(what: Any) -> Any:
    raise ValueError(f"{what!a} is not known")
