"""Tensors as this server handles them, and their way into and out of TensorFlow's C library.

A `Tensor` is a type, a shape and the values: raw little-endian bytes in row-major order, or a list of byte
strings for DT_STRING. Nothing is copied more than once in each direction.
"""

from __future__ import annotations

import ctypes
import sys
from array import array
from dataclasses import dataclass
from math import prod
from typing import Any, Final

from .capi import TensorFlow, bytes_buffer
from .errors import StatusError, invalid_argument
from .protos import TensorProto

_TSTRING_SIZE: Final = 24
"""sizeof(TF_TString), tensorflow/core/platform/ctstring_internal.h."""


@dataclass(frozen=True, slots=True, eq=False)
class DType:
    """One of TensorFlow's types. There is one object for each, compared by identity.

    Attributes:
        number: its value in the enum DataType.
        name: as errors print it, e.g. `int64`.
        size: bytes of one element.
        code: the `array` type code whose items are the same, or "" if there is none.
        field: the field of TensorProto that holds its values.
    """

    number: int
    name: str
    size: int
    code: str
    field: str


_LONG: Final = "q"
_ALL: Final = (
    DType(1, "float", 4, "f", "float_val"),
    DType(2, "double", 8, "d", "double_val"),
    DType(3, "int32", 4, "i", "int_val"),
    DType(4, "uint8", 1, "B", "int_val"),
    DType(5, "int16", 2, "h", "int_val"),
    DType(6, "int8", 1, "b", "int_val"),
    DType(7, "string", _TSTRING_SIZE, "", "string_val"),
    DType(8, "complex64", 8, "f", "scomplex_val"),
    DType(9, "int64", 8, _LONG, "int64_val"),
    DType(10, "bool", 1, "B", "bool_val"),
    DType(14, "bfloat16", 2, "H", "half_val"),
    DType(17, "uint16", 2, "H", "int_val"),
    DType(18, "complex128", 16, "d", "dcomplex_val"),
    DType(19, "half", 2, "H", "half_val"),
    DType(22, "uint32", 4, "I", "uint32_val"),
    DType(23, "uint64", 8, "Q", "uint64_val"),
)
DTYPES: Final[dict[int, DType]] = {dtype.number: dtype for dtype in _ALL}
"""The types that can cross the border, by number."""

FLOAT, DOUBLE, INT32, UINT8, INT16, INT8, STRING, INT64, BOOL = (DTYPES[n] for n in (1, 2, 3, 4, 5, 6, 7, 9, 10))
UINT32, UINT64 = DTYPES[22], DTYPES[23]


def dtype_name(number: int) -> str:
    """TensorFlow's DataTypeString, as error texts use it."""
    known = DTYPES.get(number)
    if known is not None:
        return known.name
    return {0: "INVALID", 20: "resource", 21: "variant"}.get(number, f"unknown dtype enum ({number})")


@dataclass(slots=True)
class Tensor:
    """A tensor's type, shape and values (raw bytes; a list of byte strings for DT_STRING)."""

    dtype: DType
    shape: tuple[int, ...]
    data: bytes | list[bytes]

    def values(self) -> Any:
        """The values in row-major order, as something with a length that can be sliced.

        Half and bfloat16 come as their bits, complex numbers as pairs of parts.
        """
        if isinstance(self.data, list):
            return self.data
        values = array(self.dtype.code)
        values.frombytes(self.data)
        return values

    def to_proto(self, proto: Any, as_content: bool = False) -> None:
        """Fills the message `proto` (a TensorProto) the way TensorFlow Serving does.

        Args:
            as_content: raw bytes in `tensor_content` instead of one value per field entry.
        """
        proto.dtype = self.dtype.number
        dim = proto.tensor_shape.dim
        for size in self.shape:
            dim.add(size=size)
        if as_content and isinstance(self.data, bytes):
            proto.tensor_content = self.data
        elif self.dtype is BOOL:
            proto.bool_val.extend(map(bool, self.data))
        else:
            getattr(proto, self.dtype.field).extend(self.values())

    def to_library(self, tensorflow: TensorFlow) -> int:
        """A new TF_Tensor with these values; the caller deletes it."""
        if isinstance(self.data, list):
            proto = TensorProto()
            self.to_proto(proto)
            return tensor_from_proto(tensorflow, proto)
        shape = self.shape
        size = len(self.data)
        handle: int = tensorflow.allocate_tensor(
            self.dtype.number, (ctypes.c_int64 * len(shape))(*shape), len(shape), size
        )
        if size:
            ctypes.memmove(tensorflow.tensor_data(handle), self.data, size)
        return handle


def tensor_from_proto(tensorflow: TensorFlow, proto: Any) -> int:
    """A new TF_Tensor from a TensorProto in any of its encodings; the caller deletes it.

    TensorFlow reads the message itself, so its rules hold (a last value that repeats, `tensor_content`), and it
    owns the strings.

    Raises:
        StatusError: TensorFlow refuses the message.
    """
    content = proto.SerializeToString()
    buffer = bytes_buffer(content)
    handle: int = tensorflow.allocate_tensor(FLOAT.number, None, 0, FLOAT.size)
    status = tensorflow.new_status()
    try:
        tensorflow.tensor_from_proto(ctypes.byref(buffer), handle, status)
        tensorflow.check(status)
    except StatusError:
        tensorflow.delete_tensor(handle)
        raise
    finally:
        tensorflow.delete_status(status)
    return handle


def tensor_from_library(tensorflow: TensorFlow, handle: int) -> Tensor:
    """Copies a TF_Tensor's values.

    Raises:
        StatusError: a type that no client can receive, such as a resource.
    """
    number = tensorflow.tensor_type(handle)
    dtype = DTYPES.get(number)
    if dtype is None:
        raise invalid_argument(f"Tensor of type {dtype_name(number)} cannot be returned")
    rank = tensorflow.num_dims(handle)
    dim = tensorflow.dim
    shape = tuple([dim(handle, axis) for axis in range(rank)])
    address = tensorflow.tensor_data(handle)
    if dtype is STRING:
        string_data, string_size = tensorflow.string_data, tensorflow.string_size
        return Tensor(dtype, shape, [
            ctypes.string_at(string_data(at), string_size(at))
            for at in range(address or 0, (address or 0) + prod(shape) * _TSTRING_SIZE, _TSTRING_SIZE)
        ])  # fmt: skip
    size = tensorflow.tensor_byte_size(handle)
    return Tensor(dtype, shape, ctypes.string_at(address, size) if size else b"")


assert sys.byteorder == "little", "TensorFlow's wheels exist for little-endian machines only"
