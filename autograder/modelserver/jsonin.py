"""A `:predict` request's JSON body as tensors.

The plain case (numbers or strings in lists of even length) goes through Python's C reader and `array`. All else,
every error included, goes through the exact reader in `jsonvalue` and the rules in `jsonexact`. Both give the same
tensors for what both accept.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable
from itertools import chain
from math import isfinite
from typing import Any, Final

from .jsonexact import NARROW, RANGES, InputTypes, PredictInput, decode_base64, exact_input
from .jsonvalue import MISSING, parse
from .tensor import BOOL, DOUBLE, DTYPES, FLOAT, STRING, Tensor


class _NotPlain(Exception):
    """The body is not of the plain kind; the exact reader decides."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _NotPlain
    return members


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique)


def predict_input(body: bytes, inputs_of: Callable[[str], InputTypes]) -> PredictInput:
    """Reads the body of a `:predict` request.

    Args:
        inputs_of: the inputs of the signature named in the request; raises StatusError if there is no such model
            or signature. It is called after the body has been parsed, as in TensorFlow Serving.

    Raises:
        StatusError: the request is wrong.
    """
    try:
        document = _plain_document(body)
    except _NotPlain:
        return exact_input(parse(body) if body else MISSING, inputs_of)
    name = document.get("signature_name", "")
    if type(name) is not str:
        return exact_input(parse(body), inputs_of)
    types = inputs_of(name)
    try:
        return _plain(document, name, types, b"true" in body or b"false" in body)
    except (_NotPlain, TypeError, OverflowError, ValueError):
        return exact_input(parse(body), lambda _: types)


# The plain way.


def _plain_document(body: bytes) -> dict[str, Any]:
    # RapidJSON refuses lone surrogates, which Python takes: any escaped one goes the exact way.
    if b"\\ud" in body or b"\\uD" in body or b"Infinity" in body:
        raise _NotPlain
    try:
        text = body.decode()
        start = 0 if text[:1] == "{" else len(text) - len(text.lstrip(" \t\n\r"))
        document, _ = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        raise _NotPlain from None
    if type(document) is not dict:
        raise _NotPlain
    return document


def _plain(document: dict[str, Any], name: str, types: InputTypes, has_bool: bool) -> PredictInput:
    if ("instances" in document) == ("inputs" in document) or not types:
        raise _NotPlain
    row_format = "instances" in document
    columns: dict[str, Any]
    if row_format:
        columns = _plain_rows(document["instances"], types)
    else:
        given = document["inputs"]
        if isinstance(given, dict) and not _is_plain_base64(given):
            if not types.keys() <= given.keys():
                raise _NotPlain
            columns = {alias: given[alias] for alias in types}
        elif len(types) == 1:
            columns = {next(iter(types)): given}
        else:
            raise _NotPlain
    tensors = {alias: _plain_tensor(value, types[alias], has_bool) for alias, value in columns.items()}
    return PredictInput(name, row_format, tensors)


def _plain_rows(instances: Any, types: InputTypes) -> dict[str, Any]:
    if type(instances) is not list or not instances:
        raise _NotPlain
    first = instances[0]
    if type(first) is dict and not _is_plain_base64(first):
        keys = types.keys()
        for row in instances:
            if type(row) is not dict or row.keys() != keys:
                raise _NotPlain
        return {alias: [row[alias] for row in instances] for alias in types}
    if len(types) != 1:
        raise _NotPlain
    return {next(iter(types)): instances}


def _is_plain_base64(value: dict[str, Any]) -> bool:
    return len(value) == 1 and type(value.get("b64")) is str


def _plain_tensor(value: Any, number: int, has_bool: bool) -> Tensor:
    shape: list[int] = []
    flat: list[Any]
    if type(value) is list:
        shape.append(len(value))
        flat = value
        while flat and type(flat[0]) is list:
            size = len(flat[0])
            for part in flat:
                if type(part) is not list or len(part) != size:
                    raise _NotPlain
            shape.append(size)
            flat = flat[0] if len(flat) == 1 else list(chain.from_iterable(flat))
    else:
        flat = [value]
    dtype = DTYPES.get(number)
    if dtype is STRING:
        return Tensor(dtype, tuple(shape), [_plain_string(item) for item in flat])
    if dtype is BOOL:
        if not all(type(item) is bool for item in flat):
            raise _NotPlain
        return Tensor(dtype, tuple(shape), bytes(flat))
    # `array` would take True for 1.
    if has_bool or (dtype not in RANGES and dtype is not FLOAT and dtype is not DOUBLE):
        raise _NotPlain
    assert dtype is not None
    if dtype in NARROW:
        mask = (1 << 8 * dtype.size) - 1
        wide = array("i", flat)
        unsigned = array("B" if dtype.size == 1 else "H", [item & mask for item in wide])
        return Tensor(dtype, tuple(shape), unsigned.tobytes())
    values = array(dtype.code, flat)
    if (dtype is FLOAT or dtype is DOUBLE) and not isfinite(sum(values)):
        raise _NotPlain  # 1e400 is an error, NaN is not
    return Tensor(dtype, tuple(shape), values.tobytes())


def _plain_string(item: Any) -> bytes:
    if type(item) is str:
        return item.encode()
    if type(item) is dict and _is_plain_base64(item):
        return decode_base64(item["b64"])
    raise _NotPlain
