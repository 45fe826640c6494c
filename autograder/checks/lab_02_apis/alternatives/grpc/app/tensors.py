"""TensorFlow Serving's messages on the wire, since its package would bring all of TensorFlow along.

Numbers of fields are those of predict.proto, model.proto, get_model_status.proto and tensor.proto.
"""

import struct
from array import array


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def parse(message: bytes) -> dict[int, list]:
    """The fields of a message by number: ints, and bytes. Raises ValueError and IndexError."""
    fields: dict[int, list] = {}
    at = 0

    def number() -> int:
        nonlocal at
        found = shift = 0
        while True:
            byte = message[at]
            at += 1
            found |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return found

    while at < len(message):
        tag = number()
        kind = tag & 7
        if kind == 0:
            value = number()
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            value, at = message[at : at + size], at + size
        elif kind == 2:
            size = number()
            value, at = message[at : at + size], at + size
        else:
            raise ValueError("a wire type that nobody uses")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def predict_request(model: str, images: list[list[float]]) -> bytes:
    dims = b"".join(field(2, b"\x08" + varint(size)) for size in (len(images), 64))
    values = array("f", [pixel for image in images for pixel in image]).tobytes()
    tensor = b"\x08\x01" + field(2, dims) + field(4, values)
    return field(1, field(1, model.encode())) + field(2, field(1, b"pixels") + field(2, tensor))


def predict_answer(message: bytes) -> tuple[list[list[float]], int]:
    """Ten probabilities for each image, and the version. Raises ValueError when it is no such answer."""
    try:
        fields = parse(message)
        version = parse(parse(fields[2][0])[2][0])[1][0]
        entries = [parse(entry) for entry in fields[1]]
        (tensor,) = [parse(entry[2][0]) for entry in entries if entry[1][0] == b"probabilities"]
        raw = b"".join(tensor.get(4) or tensor[5])
        values = struct.unpack(f"<{len(raw) // 4}f", raw)
    except (LookupError, TypeError, struct.error) as error:
        raise ValueError("no prediction") from error
    return [list(values[start : start + 10]) for start in range(0, len(values), 10)], version


def status_request(model: str) -> bytes:
    return field(1, field(1, model.encode()))


def is_available(message: bytes) -> bool:
    return any(30 in parse(one).get(2, []) for one in parse(message).get(1, []))
