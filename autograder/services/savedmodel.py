"""Writes a small SavedModel from numbers, without TensorFlow: the models that a grader puts in a student's server.
And reads the signatures of any other one.

The model is one dense layer, ``softmax(x · weights + bias)`` or the same without softmax, with its numbers as
constants in the graph. Field numbers are those of TensorFlow's ``saved_model.proto``, ``meta_graph.proto``,
``graph.proto``, ``node_def.proto``, ``attr_value.proto`` and ``tensor.proto``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autograder.services.wire import entry, field, fields, messages, number

DT_FLOAT = 1
DTYPES = {1: "DT_FLOAT", 2: "DT_DOUBLE", 3: "DT_INT32", 4: "DT_UINT8", 7: "DT_STRING", 9: "DT_INT64", 10: "DT_BOOL"}
Array = NDArray[np.float32]
Names = tuple[str, str]  # of an input and an output


@dataclass(frozen=True)
class Dense:
    """A model of one dense layer.

    Attributes:
        weights: shape (inputs, outputs), float32.
        bias: shape (outputs,), float32.
        input_name, output_name: the names in its signature.
        softmax: whether the outputs are probabilities.
    """

    weights: Array
    bias: Array
    input_name: str = "pixels"
    output_name: str = "probabilities"
    softmax: bool = True

    def __call__(self, rows: Array) -> Array:
        """The model's own answer to rows of shape (n, inputs): shape (n, outputs)."""
        logits = rows.astype(np.float64) @ self.weights.astype(np.float64) + self.bias
        if not self.softmax:
            return logits.astype(np.float32)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        answer: Array = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
        return answer

    def save(self, folder: Path) -> None:
        """Writes ``folder/saved_model.pb``; the folder is made."""
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(self.serialized())
        (folder / "variables").mkdir()

    def serialized(self) -> bytes:
        inputs, outputs = self.weights.shape
        nodes = [
            _node("x", "Placeholder", [], {"dtype": _type(), "shape": _shape_attr([-1, inputs])}),
            _node("weights", "Const", [], {"dtype": _type(), "value": _constant(self.weights)}),
            _node("bias", "Const", [], {"dtype": _type(), "value": _constant(self.bias)}),
            _node("product", "MatMul", ["x", "weights"], {"T": _type()}),
            _node("logits", "BiasAdd", ["product", "bias"], {"T": _type()}),
            _node("y", "Softmax" if self.softmax else "Identity", ["logits"], {"T": _type()}),
        ]
        graph = b"".join(field(1, node) for node in nodes) + field(4, number(1, 1882))
        signature = (
            entry(1, self.input_name, _info("x:0", [-1, inputs]))
            + entry(2, self.output_name, _info("y:0", [-1, outputs]))
            + field(3, b"tensorflow/serving/predict")
        )
        meta = field(1, field(4, b"serve")) + field(2, graph) + entry(5, "serving_default", signature)
        return number(1, 1) + field(2, meta)


def random_dense(
    rng: np.random.Generator, inputs: int = 64, outputs: int = 10, names: Names = ("pixels", "probabilities")
) -> Dense:
    """A model with random weights, whose answers to pixels 0–16 are neither flat nor extreme."""
    weights = rng.normal(scale=0.6 / np.sqrt(inputs), size=(inputs, outputs)).astype(np.float32)
    return Dense(weights, rng.normal(size=outputs).astype(np.float32), *names)


def _node(name: str, op: str, inputs: list[str], attributes: dict[str, bytes]) -> bytes:
    return (
        field(1, name.encode())
        + field(2, op.encode())
        + b"".join(field(3, source.encode()) for source in inputs)
        + b"".join(entry(5, key, value) for key, value in attributes.items())
    )


def _type() -> bytes:
    return number(6, DT_FLOAT)


def _shape(sizes: list[int]) -> bytes:
    return b"".join(field(2, number(1, size)) for size in sizes)


def _shape_attr(sizes: list[int]) -> bytes:
    return field(7, _shape(sizes))


def _constant(values: Array) -> bytes:
    return field(8, tensor_proto(values))


def tensor_proto(values: Array) -> bytes:
    """A TensorProto of floats."""
    content = np.ascontiguousarray(values, dtype="<f4").tobytes()
    return number(1, DT_FLOAT) + field(2, _shape(list(values.shape))) + field(4, content)


def _info(name: str, sizes: list[int]) -> bytes:
    return field(1, name.encode()) + number(2, DT_FLOAT) + field(3, _shape(sizes))


@dataclass(frozen=True)
class Tensor:
    """An input or an output of a signature.

    Attributes:
        dtype: its type, ``DT_FLOAT``; one that is not known here by its number, ``DataType 23``.
        shape: its sizes, -1 for any; ``None`` when even their number is open.
    """

    dtype: str
    shape: list[int] | None


@dataclass(frozen=True)
class Signature:
    """What a SavedModel says that it takes and gives, by name."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


def signatures(content: bytes) -> dict[str, Signature]:
    """The signatures, by name, of the graph that is there to be served.

    Args:
        content: of a ``saved_model.pb``; from a student, and not to be trusted.

    Raises:
        ValueError: it is no SavedModel, or it holds no graph with the tag ``serve``.
    """
    for meta in messages(content, 2):
        info = b"".join(messages(meta, 1))
        if b"serve" in messages(info, 4):
            return {
                name: Signature(dict(_tensors(signature, 1)), dict(_tensors(signature, 2)))
                for name, signature in _entries(meta, 5)
            }
    raise ValueError("it holds no graph with the tag serve")


def _entries(message: bytes, tag: int) -> Iterator[tuple[str, bytes]]:
    """A map from strings to messages."""
    for item in messages(message, tag):
        name, value = (b"".join(messages(item, part)) for part in (1, 2))
        yield name.decode("utf-8", "replace"), value


def _tensors(signature: bytes, tag: int) -> Iterator[tuple[str, Tensor]]:
    for name, info in _entries(signature, tag):
        kind = next((value for number, value in fields(info) if number == 2), 0)
        shape = b"".join(messages(info, 3))
        sizes = [_signed(next((size for part, size in fields(one) if part == 1), 0)) for one in messages(shape, 2)]
        open_rank = any(number == 3 and value for number, value in fields(shape))
        dtype = DTYPES.get(kind, f"DataType {kind!r}") if isinstance(kind, int) else "no DataType"
        yield name, Tensor(dtype, None if open_rank else sizes)


def _signed(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise ValueError("a size that is no number")
    return value - (1 << 64) if value >> 63 else value
