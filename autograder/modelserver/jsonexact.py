"""A `:predict` request's JSON as tensors, by TensorFlow Serving's rules one by one, with its error texts.

This is the exact and slow way; `jsonin` takes it for everything that its quick way does not understand.
"""

from __future__ import annotations

import binascii
import re
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any, Final

from .errors import Code, StatusError, invalid_argument
from .jsontext import pretty
from .jsonvalue import MISSING, Members
from .tensor import (
    BOOL,
    DOUBLE,
    DTYPES,
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
    dtype_name,
)

InputTypes = Mapping[str, int]
"""The inputs of a signature: the DataType number of each alias."""

NARROW: Final = (INT8, UINT8, INT16)
"""The types that keep the low bits of any int32."""

RANGES: Final[dict[DType, range]] = {
    INT32: range(-(2**31), 2**31),
    INT16: range(-(2**31), 2**31),
    INT8: range(-(2**31), 2**31),
    UINT8: range(-(2**31), 2**31),
    INT64: range(-(2**63), 2**63),
    UINT32: range(2**32),
    UINT64: range(2**64),
}
"""The integers that each type takes; the narrow ones take any int32 and keep its low bits."""

_TYPE_NAMES: Final = {
    type(None): "Null",
    str: "String",
    list: "Array",
    Members: "Object",
    int: "Number",
    float: "Number",
}


@dataclass(frozen=True, slots=True)
class PredictInput:
    """A parsed request: the signature ("" for the default), its format and its tensors."""

    signature_name: str
    row_format: bool
    tensors: dict[str, Tensor]


def request_object(document: Any) -> tuple[Members, str]:
    """The checks that every kind of request shares: an object, and its signature's name ("" if absent).

    Raises:
        StatusError: `document` is no object, or `signature_name` no string.
    """
    if document is MISSING:
        raise invalid_argument("JSON Parse error: The document is empty")
    if not isinstance(document, Members):
        raise invalid_argument(f"JSON Value: {pretty(document)} Is not object")
    name = document.find("signature_name")
    if name is MISSING:
        return document, ""
    if not isinstance(name, str):
        raise invalid_argument(
            f"JSON Value: {pretty(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return document, name


def exact_input(parsed: Any, inputs_of: Callable[[str], InputTypes]) -> PredictInput:
    """Reads a parsed body (MISSING for an empty one).

    Args:
        inputs_of: the inputs of the signature named in the request.

    Raises:
        StatusError: the request is wrong.
    """
    document, name = request_object(parsed)
    types = inputs_of(name)
    if not types:
        raise invalid_argument(f"Failed to get input map for signature: {name or 'DEFAULT'}")
    instances, inputs = document.find("instances"), document.find("inputs")
    if instances is not MISSING and inputs is not MISSING:
        raise invalid_argument(
            f"JSON Value: {pretty(document)} Not formatted correctly expecting only one of 'inputs' or 'instances'"
            " keys to exist "
        )
    if instances is not MISSING:
        if not isinstance(instances, list) or isinstance(instances, Members):
            raise invalid_argument(f"JSON Value: {pretty(document)} Expecting 'instances' to be an list/array")
        if not instances:
            raise invalid_argument(f"JSON Value: {pretty(document)} No values in 'instances' array")
        return PredictInput(name, True, _rows(instances, types))
    if inputs is MISSING:
        raise invalid_argument("Missing 'inputs' or 'instances' key")
    return PredictInput(name, False, _columns(inputs, types))


def _columns(inputs: Any, types: InputTypes) -> dict[str, Tensor]:
    tensors = {}
    if not isinstance(inputs, Members) or is_base64(inputs):
        if len(types) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per"
                " tensorinfo_map"
            )
        alias, number = next(iter(types.items()))
        filler = _Filler(inputs, number)
        return {alias: filler.tensor(filler.shape)}
    for alias, number in types.items():
        value = inputs.find(alias)
        if value is MISSING:
            raise invalid_argument(f"Missing named input: {alias} in 'inputs' object.")
        filler = _Filler(value, number)
        tensors[alias] = filler.tensor(filler.shape)
    return tensors


def _rows(instances: list[Any], types: InputTypes) -> dict[str, Tensor]:
    if not isinstance(instances[0], Members) and len(types) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per"
            " tensorinfo_map"
        )
    named = _is_named(instances[0])
    columns: dict[str, list[_Filler]] = {}
    for index, instance in enumerate(instances):
        if named != _is_named(instance):
            raise invalid_argument(
                f"Expecting object but got list at item {index} of input list"
                if named
                else f"Expecting value/list but got object at item {index} of input list"
            )
        where = f"Failed to process element: {index}"
        for alias, value in instance if named else [(next(iter(types)), instance)]:
            try:
                _add_item(columns, alias, value, types)
            except StatusError as error:
                key = f" key: {alias}" if named else ""
                raise invalid_argument(f"{where}{key} of 'instances' list. Error: {error}") from None
        if named and {alias for alias, _ in instance} != types.keys():
            raise invalid_argument(
                f"{where} of 'instances' list. JSON object: {pretty(instance)} keys must be equal to:"
                f" {','.join(sorted(types))}"
            )
    return {
        alias: fillers[0].tensor((len(instances), *fillers[0].shape), fillers) for alias, fillers in columns.items()
    }


def _is_named(instance: Any) -> bool:
    return isinstance(instance, Members) and not is_base64(instance)


def _add_item(columns: dict[str, list[_Filler]], alias: str, value: Any, types: InputTypes) -> None:
    if alias not in types:
        raise invalid_argument(f"JSON object: does not have named input: {alias}")
    filler = _Filler(value, types[alias])
    column = columns.setdefault(alias, [])
    if column:
        first = column[0]
        if len(filler.values) != len(first.values):
            raise invalid_argument(f"Expecting tensor size: {len(first.values)} but got: {len(filler.values)}")
        if filler.shape != first.shape:
            raise invalid_argument(f"Expecting shape {_brackets(first.shape)} but got: {_brackets(filler.shape)}")
    column.append(filler)


def _brackets(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"


class _Filler:
    """One JSON value as a dense tensor: its shape from its first elements, then every value checked against it."""

    def __init__(self, value: Any, number: int) -> None:
        shape: list[int] = []
        inner = value
        while isinstance(inner, list) and not isinstance(inner, Members):
            shape.append(len(inner))
            if not inner:
                break
            inner = inner[0]
        self.shape = tuple(shape)
        self.number = number
        self.values: list[Any] = []
        self._fill(value)

    def tensor(self, shape: tuple[int, ...], parts: list[_Filler] | None = None) -> Tensor:
        """These values, or those of all `parts` in order, as a tensor of `shape`."""
        dtype = DTYPES[self.number]
        values = list(chain.from_iterable(part.values for part in parts)) if parts else self.values
        # A name given twice in a row leaves more values than the shape holds; TensorFlow takes the first ones.
        del values[prod(shape) :]
        if dtype is STRING:
            return Tensor(dtype, shape, values)
        if dtype in NARROW:
            mask = (1 << 8 * dtype.size) - 1
            return Tensor(dtype, shape, array("B" if dtype.size == 1 else "H", [v & mask for v in values]).tobytes())
        return Tensor(dtype, shape, array(dtype.code, values).tobytes())

    def _fill(self, value: Any) -> None:
        rank = len(self.shape)
        # Depth first, in order, without recursion.
        pending = [(value, 0)]
        while pending:
            item, level = pending.pop()
            if not isinstance(item, list) or isinstance(item, Members):
                if level != rank:
                    raise invalid_argument(
                        f"JSON Value: {pretty(item)} found at incorrect level: {level + 1} in the JSON DOM."
                        f" Expected at level: {rank}"
                    )
                self.values.append(_element(item, self.number))
                continue
            if level >= rank:
                raise invalid_argument(f"Encountered list at unexpected level: {level} expected < {rank}")
            if len(item) != self.shape[level]:
                raise invalid_argument(
                    f"Encountered list at unexpected size: {len(item)} at level: {level}"
                    f" expected size: {self.shape[level]}"
                )
            pending.extend((part, level + 1) for part in reversed(item))


def _element(value: Any, number: int) -> Any:
    dtype = DTYPES.get(number)
    if isinstance(value, Members):
        if dtype is STRING:
            return base64_value(value)
        raise _type_error(value, number)
    if dtype is FLOAT or dtype is DOUBLE:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    elif dtype is BOOL:
        fits = isinstance(value, bool)
    elif dtype is STRING:
        if isinstance(value, str):
            return value.encode("utf-8", "surrogateescape")
        fits = False
    elif dtype in RANGES:
        fits = type(value) is int and value in RANGES[dtype]
    else:
        raise StatusError(
            Code.UNIMPLEMENTED, f"Conversion of JSON Value: {pretty(value)} to type: {dtype_name(number)}"
        )
    if not fits:
        raise _type_error(value, number)
    return value


def _type_error(value: Any, number: int) -> StatusError:
    return invalid_argument(
        f"JSON Value: {pretty(value)} Type: {type_name(value)} is not of expected type: {dtype_name(number)}"
    )


def type_name(value: Any) -> str:
    """The JSON type as error texts name it."""
    return str(value) if isinstance(value, bool) else _TYPE_NAMES[type(value)]


# Base64.

_NOT_BASE64: Final = re.compile(r"[^A-Za-z0-9+/]")


def is_base64(value: Any) -> bool:
    """Whether `value` is an object of the form {"b64": "…"} and nothing else."""
    return isinstance(value, Members) and len(value) == 1 and value[0][0] == "b64" and isinstance(value[0][1], str)


def base64_value(value: Members) -> bytes:
    """The bytes that {"b64": "…"} stands for.

    Raises:
        StatusError: not of that form, or not base64.
    """
    if not is_base64(value):
        raise invalid_argument(f"JSON Value: {pretty(value)} not formatted correctly for base64 data")
    return decode_base64(value[0][1])


def decode_base64(text: str) -> bytes:
    """absl::Base64Unescape: white space is skipped, padding may be missing, the alphabet is the standard one.

    Raises:
        StatusError: not base64.
    """
    stripped = "".join(text.split())
    digits = stripped.rstrip("=")
    padding = len(stripped) - len(digits)
    # Padding is either absent or exactly what the length asks for; one digit alone says nothing.
    if _NOT_BASE64.search(digits) or len(digits) % 4 == 1 or padding not in (0, -len(digits) % 4):
        raise invalid_argument("Unable to base64 decode")
    return binascii.a2b_base64(digits + "=" * (-len(digits) % 4))
