"""Protobuf's wire format, as much as a grader needs to write a SavedModel and to ask over gRPC.

Source: the encoding page of protobuf's documentation. Writers give bytes to be joined; ``fields`` reads them back.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def varint(value: int) -> bytes:
    """A whole number; negative ones as 64-bit two's complement."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(tag: int, value: int) -> bytes:
    """A field that holds a whole number, a bool or an enum."""
    return varint(tag << 3 | VARINT) + varint(value)


def field(tag: int, content: bytes) -> bytes:
    """A field that holds a string, bytes or a message."""
    return varint(tag << 3 | BYTES) + varint(len(content)) + content


def entry(tag: int, key: str, value: bytes) -> bytes:
    """One entry of a map from strings to messages."""
    return field(tag, field(1, key.encode()) + field(2, value))


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Every field of a message with its number. Raises ValueError when it is cut short or malformed."""
    position = 0
    while position < len(message):
        tag, position = _read_varint(message, position)
        kind = tag & 7
        if kind == VARINT:
            value, position = _read_varint(message, position)
            yield tag >> 3, value
            continue
        if kind == BYTES:
            size, position = _read_varint(message, position)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind}")
        if position + size > len(message):
            raise ValueError("cut short")
        yield tag >> 3, message[position : position + size]
        position += size


def messages(message: bytes, tag: int) -> Iterator[bytes]:
    """The contents of every field ``tag`` that holds bytes."""
    return (value for number, value in fields(message) if number == tag and isinstance(value, bytes))


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if position >= len(message):
            raise ValueError("cut short")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number of more than 64 bits")
