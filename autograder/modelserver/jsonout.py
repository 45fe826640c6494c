"""Tensors and results as TensorFlow Serving prints them in JSON.

Row format puts each row's arrays on one line, column format one value a line; `:regress`, status and metadata
have their own layouts. Floats have six significant digits where those read back as the same value, otherwise nine
(double: seventeen), and `.0` where neither a point nor an exponent would tell them from integers.
"""

from __future__ import annotations

import struct
from array import array
from base64 import b64encode
from collections.abc import Mapping, Sequence
from itertools import chain
from math import isfinite
from typing import Any, Final

from .errors import invalid_argument
from .jsontext import quoted
from .tensor import (
    BOOL,
    DOUBLE,
    FLOAT,
    INT8,
    INT16,
    INT32,
    INT64,
    STRING,
    UINT8,
    UINT32,
    UINT64,
    DType,
    Tensor,
)

_INTEGERS: Final = (INT32, INT64, UINT8, INT8, INT16, UINT32, UINT64)
_ODD: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_INDENT: Final = "    "
_LEAST_NORMAL: Final = {"f": 2.0**-126, "d": 2.0**-1022}


def float_texts(values: array[float], single: bool) -> list[str]:
    """Each value as text; `single` for float32 values, otherwise doubles."""
    count = len(values)
    if not count:
        return []
    exact = tuple(values)
    # One C-level format call for all values is several times faster than one each.
    line = "%.6g " * count % exact
    code = "f" if single else "d"
    if "e-3" in line or "e-4" in line:
        # Denormal values count as zero in the real server, whose threads flush them.
        least = _LEAST_NORMAL[code]
        exact = tuple(value if abs(value) >= least or value != value else value * 0.0 for value in exact)
        values = array(code, exact)
        line = "%.6g " * count % exact
    short = line.split()
    if array(code, map(float, short)) == values:
        chosen = short
    else:
        long = (("%.9g " if single else "%.17g ") * count % exact).split()
        read_back = array(code, map(float, short))
        chosen = [
            brief if value == again else full
            for brief, full, value, again in zip(short, long, exact, read_back, strict=True)
        ]
    if not isfinite(sum(exact)):
        chosen = [_ODD.get(text, text) for text in chosen]
    return [text if "." in text or "e" in text or "N" in text or "I" in text else text + ".0" for text in chosen]


def predictions(outputs: Mapping[str, Tensor]) -> bytes:
    """The answer to a request in row format.

    Raises:
        StatusError: the outputs can't be cut into rows.
    """
    rows = -1
    for name, tensor in outputs.items():
        if not tensor.shape:
            raise invalid_argument(f"Tensor name: {name} has no shape information ")
        if rows not in (-1, tensor.shape[0]):
            raise invalid_argument(
                f"Tensor name: {name} has inconsistent batch size: {tensor.shape[0]} expecting: {rows}"
            )
        rows = tensor.shape[0]
    _require_outputs(outputs)
    if len(outputs) == 1:
        ((name, tensor),) = outputs.items()
        body = ", ".join(_lines(name, tensor, depth=2))
    else:
        columns = [(quoted(name), _lines(name, tensor, depth=3)) for name, tensor in outputs.items()]
        body = ",".join(
            "\n        {\n" + ",\n".join(f"            {name}: {texts[row]}" for name, texts in columns) + "\n        }"
            for row in range(rows)
        )
    closing = f"{body}\n    ]" if rows else "]"
    return f'{{\n    "predictions": [{closing}\n}}'.encode("utf-8", "surrogateescape")


def outputs_document(outputs: Mapping[str, Tensor]) -> bytes:
    """The answer to a request in column format."""
    _require_outputs(outputs)
    if len(outputs) == 1:
        ((name, tensor),) = outputs.items()
        body = _spread(name, tensor, depth=1)
    else:
        members = (f"        {quoted(name)}: {_spread(name, tensor, depth=2)}" for name, tensor in outputs.items())
        body = "{\n" + ",\n".join(members) + "\n    }"
    return f'{{\n    "outputs": {body}\n}}'.encode("utf-8", "surrogateescape")


def classifications(results: Sequence[Sequence[tuple[bytes, float]]]) -> bytes:
    """The answer to `:classify`: label and score pairs for each example."""
    scores = iter(float_texts(array("f", [score for result in results for _, score in result]), single=True))
    rows = ("[" + ", ".join(f"[{_string(label)}, {next(scores)}]" for label, _ in result) + "]" for result in results)
    return f'{{\n    "results": [{", ".join(rows)}\n    ]\n}}'.encode("utf-8", "surrogateescape")


def regressions(values: Sequence[float]) -> bytes:
    """The answer to `:regress`: one number for each example."""
    return f'{{\n    "results": [{", ".join(float_texts(array("f", values), single=True))}]\n}}'.encode()


def _require_outputs(outputs: Mapping[str, Tensor]) -> None:
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")


def _string(value: bytes) -> str:
    return quoted(value.decode("utf-8", "surrogateescape"))


def _texts(name: str, tensor: Tensor, depth: int) -> Sequence[str]:
    """Each value as text; `depth` is where a {"b64": …} object would stand."""
    dtype: DType = tensor.dtype
    if dtype is FLOAT or dtype is DOUBLE:
        return float_texts(tensor.values(), dtype is FLOAT)
    if dtype in _INTEGERS:
        return list(map(str, tensor.values()))
    if dtype is BOOL:
        return ["true" if value else "false" for value in tensor.data]
    if dtype is STRING:
        values: list[bytes] = tensor.values()
        if not name.endswith("_bytes"):
            return [_string(value) for value in values]
        outer, inner = _INDENT * depth, _INDENT * (depth + 1)
        return [f'{{\n{inner}"b64": "{b64encode(value).decode()}"\n{outer}}}' for value in values]
    if dtype.name == "half":
        assert isinstance(tensor.data, bytes)
        halves = struct.unpack(f"<{len(tensor.data) // 2}e", tensor.data)
        return float_texts(array("f", halves), single=True)
    raise invalid_argument(f"Failed to write JSON value for tensor type: {dtype.name}")


def _lines(name: str, tensor: Tensor, depth: int) -> Sequence[str]:
    """Each row of the tensor on one line; `depth` is where a row stands in the document."""
    texts = _texts(name, tensor, depth + len(tensor.shape) - 1)
    for level in range(len(tensor.shape) - 1, 0, -1):
        size = tensor.shape[level]
        texts = [f"[{', '.join(part)}]" for part in _parts(texts, size, tensor.shape[:level])]
    return texts


def _spread(name: str, tensor: Tensor, depth: int) -> str:
    """The tensor with each value on its own line; `depth` is where it stands in the document."""
    texts = _texts(name, tensor, depth + len(tensor.shape))
    for level in range(len(tensor.shape) - 1, -1, -1):
        size = tensor.shape[level]
        if not size:
            texts = ["[]" for _ in _parts(texts, size, tensor.shape[:level])]
            continue
        inner = ",\n" + _INDENT * (depth + level + 1)
        start, end = f"[{inner[1:]}", f"\n{_INDENT * (depth + level)}]"
        texts = [f"{start}{inner.join(part)}{end}" for part in _parts(texts, size, tensor.shape[:level])]
    return texts[0]


def _parts(texts: Sequence[str], size: int, outer: tuple[int, ...]) -> list[Sequence[str]]:
    if size:
        return [texts[at : at + size] for at in range(0, len(texts), size)]
    count = 1
    for extent in outer:
        count *= extent
    return [()] * count


# Protocol buffers as JSON: MessageToJsonString with white space and all primitive fields.


def message_lines(message: Any, depth: int) -> str:
    """A protocol buffer as JSON, one space an indent level, fields under their proto names, none left out."""
    inner, outer = "\n" + " " * (depth + 1), "\n" + " " * depth
    members = list(chain.from_iterable(_member(message, field, depth + 1) for field in message.DESCRIPTOR.fields))
    return f"{{{inner}{f',{inner}'.join(members)}{outer}}}" if members else "{}"


def _member(message: Any, field: Any, depth: int) -> list[str]:
    value = getattr(message, field.name)
    inner, outer = "\n" + " " * (depth + 1), "\n" + " " * depth
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        of_message = field.message_type.fields_by_name["value"].message_type is not None
        entries = [
            f"{quoted(key)}: {message_lines(value[key], depth + 1) if of_message else quoted(str(value[key]))}"
            for key in sorted(value)
        ]
        text = f"{{{inner}{f',{inner}'.join(entries)}{outer}}}" if entries else "{}"
    elif field.is_repeated:
        items = [_single(item, field, depth + 1) for item in value]
        text = f"[{inner}{f',{inner}'.join(items)}{outer}]" if items else "[]"
    elif field.has_presence and not message.HasField(field.name):
        return []
    else:
        text = _single(value, field, depth)
    return [f"{quoted(field.name)}: {text}"]


def _single(value: Any, field: Any, depth: int) -> str:
    if field.message_type is not None:
        return message_lines(value, depth)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return quoted(known.name) if known is not None else str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return quoted(b64encode(value).decode())
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, int):
        # 64-bit integers are strings in proto3's JSON.
        return quoted(str(value)) if field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64) else str(value)
    return quoted(value)


def metadata_document(name: str, version: int, signatures: Any) -> bytes:
    """The answer to a metadata request; `signatures` is a SignatureDefMap."""
    spec = f'{{\n "name": {quoted(name)},\n "version": "{version}",\n "signature_name": ""\n}}\n'
    return (
        f'{{\n"model_spec":{spec},\n"metadata": {{"signature_def": {message_lines(signatures, 0)}\n}}\n}}\n'
    ).encode("utf-8", "surrogateescape")
