"""The grader's own SavedModels: right numbers, and the fields that TensorFlow's protos define."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from autograder.services import wire
from autograder.services.savedmodel import Dense, random_dense


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


def first_bytes(entry: bytes) -> bytes:
    """The key of a map's entry."""
    key = next(value for _, value in wire.fields(entry))
    assert isinstance(key, bytes)
    return key


def test_its_signature_names_its_input_and_its_output() -> None:
    zeros = np.zeros((3, 2), np.float32)
    model = Dense(zeros, zeros[0], input_name="given", output_name="found")
    (meta,) = wire.messages(model.serialized(), 2)
    (signature,) = wire.messages(meta, 5)
    assert first_bytes(signature) == b"serving_default"
    (definition,) = wire.messages(signature, 2)
    assert [first_bytes(entry) for tag in (1, 2) for entry in wire.messages(definition, tag)] == [b"given", b"found"]


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**32, 2**63 - 1])
def test_numbers_survive_the_wire(value: int) -> None:
    assert list(wire.fields(wire.number(5, value))) == [(5, value)]


def test_a_negative_number_is_written_in_twos_complement() -> None:
    assert list(wire.fields(wire.number(1, -1))) == [(1, 2**64 - 1)]


@pytest.mark.parametrize("message", [b"\x0a", b"\x0a\x05ab", b"\xff" * 11, b"\x0b", b"\x09\x00", b"\x80"])
def test_a_message_that_is_cut_short_or_malformed_is_an_error(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut short|wire type|64 bits"):
        list(wire.fields(message))
