"""The grader's own SavedModels: right numbers, and the fields that TensorFlow's protos define."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from autograder.modelserver.protos import PredictionLog
from autograder.modelserver.warmup import records
from autograder.services import wire
from autograder.services.savedmodel import Dense, Signature, Tensor, random_dense, signatures
from autograder.services.warmup import warm_up_requests


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def rows(rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.integers(0, 17, size=(50, 64)).astype(np.float32)


def test_probabilities_add_up_to_one(rng: np.random.Generator, rows: NDArray[np.float32]) -> None:
    found = random_dense(rng)(rows)
    assert found.shape == (50, 10)
    assert np.allclose(found.sum(axis=1), 1, atol=1e-6)


def test_answers_are_neither_flat_nor_extreme(rng: np.random.Generator, rows: NDArray[np.float32]) -> None:
    found = random_dense(rng)(rows)
    assert len(set(found.argmax(axis=1))) > 2
    assert 0.2 < float(np.median(found.max(axis=1))) < 1


def test_two_models_differ_by_more_than_any_tolerance(rng: np.random.Generator, rows: NDArray[np.float32]) -> None:
    first, second = random_dense(rng), random_dense(rng)
    assert float(np.abs(first(rows) - second(rows)).max(axis=1).min()) > 1e-3


def test_huge_inputs_overflow_nothing() -> None:
    model = Dense(np.eye(2, dtype=np.float32), np.zeros(2, np.float32))
    assert model(np.array([[1e30, -1e30]], np.float32)).tolist() == [[1.0, 0.0]]


def test_without_softmax_it_is_a_linear_model() -> None:
    model = Dense(np.array([[2.0]], np.float32), np.array([1.0], np.float32), softmax=False)
    assert model(np.array([[3.0]], np.float32)).tolist() == [[7.0]]


def test_it_is_saved_where_a_server_looks(tmp_path: Path, rng: np.random.Generator) -> None:
    random_dense(rng).save(tmp_path / "1")
    assert sorted(path.name for path in (tmp_path / "1").iterdir()) == ["saved_model.pb", "variables"]


def test_its_signature_names_its_input_and_its_output() -> None:
    zeros = np.zeros((3, 2), np.float32)
    model = Dense(zeros, zeros[0], input_name="given", output_name="found")
    expected = Signature({"given": Tensor("DT_FLOAT", [-1, 3])}, {"found": Tensor("DT_FLOAT", [-1, 2])})
    assert signatures(model.serialized()) == {"serving_default": expected}


def saved_model(tag: bytes, info: bytes) -> bytes:
    """A SavedModel with one signature, whose one input is described by a TensorInfo."""
    meta = wire.field(1, wire.field(4, tag)) + wire.entry(5, "other", wire.entry(1, "x", info))
    return wire.number(1, 1) + wire.field(2, meta)


def dimension(size: int) -> bytes:
    return wire.field(2, wire.number(1, size))


@pytest.mark.parametrize(
    ("info", "dtype", "shape"),
    [
        (wire.number(2, 7) + wire.field(3, b""), "DT_STRING", []),
        (wire.number(2, 1) + wire.field(3, dimension(-1) + dimension(8)), "DT_FLOAT", [-1, 8]),
        (wire.number(2, 1) + wire.field(3, wire.number(3, 1)), "DT_FLOAT", None),
        (wire.number(2, 99) + wire.field(3, dimension(0)), "DataType 99", [0]),
    ],
)
def test_a_signature_of_any_type_and_shape_can_be_read(info: bytes, dtype: str, shape: list[int] | None) -> None:
    assert signatures(saved_model(b"serve", info)) == {"other": Signature({"x": Tensor(dtype, shape)}, {})}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"this is not a SavedModel",
        saved_model(b"train", b""),
        saved_model(b"serve", wire.field(3, wire.field(2, wire.field(1, b"many")))),
        saved_model(b"serve", b"")[:-2],
    ],
)
def test_what_is_no_saved_model_to_serve_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"serve|cut short|wire type|64 bits|no number"):
        signatures(content)


def test_its_warm_up_requests_are_read_as_the_field_reads_them() -> None:
    rows = np.arange(128, dtype=np.float32).reshape(2, 64)
    (record,) = records(warm_up_requests("digits", "pixels", rows))
    request = PredictionLog.FromString(record).predict_log.request
    assert (request.model_spec.name, list(request.inputs)) == ("digits", ["pixels"])
    tensor = request.inputs["pixels"]
    assert [size.size for size in tensor.tensor_shape.dim] == [2, 64]
    assert np.array_equal(np.frombuffer(tensor.tensor_content, "<f4").reshape(2, 64), rows)


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**32, 2**63 - 1])
def test_numbers_survive_the_wire(value: int) -> None:
    assert list(wire.fields(wire.number(5, value))) == [(5, value)]


def test_a_negative_number_is_written_in_twos_complement() -> None:
    assert list(wire.fields(wire.number(1, -1))) == [(1, 2**64 - 1)]


@pytest.mark.parametrize("message", [b"\x0a", b"\x0a\x05ab", b"\xff" * 11, b"\x0b", b"\x09\x00", b"\x80"])
def test_a_message_that_is_cut_short_or_malformed_is_an_error(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut short|wire type|64 bits"):
        list(wire.fields(message))
