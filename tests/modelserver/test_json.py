"""JSON in and out: both readers agree, every value survives, every byte string gets an answer."""

from __future__ import annotations

import json
import math
import struct
from array import array
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.modelserver import jsonexact, jsonin, jsonout, jsontext, jsonvalue
from autograder.modelserver.errors import Code, StatusError
from autograder.modelserver.inference import Inference
from autograder.modelserver.metrics import Metrics
from autograder.modelserver.servable import Servable
from autograder.modelserver.session import RunMode
from autograder.modelserver.tensor import DTYPES, STRING, Tensor

_BY_NAME = {dtype.name: dtype for dtype in DTYPES.values()}
_ELEMENTS: dict[str, st.SearchStrategy[Any]] = {
    "float": st.floats(width=32, allow_subnormal=False),
    "double": st.floats(allow_subnormal=False),
    "int8": st.integers(-128, 127),
    "uint8": st.integers(0, 255),
    "int16": st.integers(-(2**15), 2**15 - 1),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "uint32": st.integers(0, 2**32 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint64": st.integers(0, 2**64 - 1),
    "bool": st.booleans(),
    "string": st.text(),
}
_SIGNATURES = {"float": "float32", "double": "float64"}


def _nested(values: list[Any], shape: tuple[int, ...]) -> Any:
    """The values as nested lists of `shape`."""
    if not shape:
        return values[0]
    size = math.prod(shape[1:])
    return [_nested(values[at * size : (at + 1) * size], shape[1:]) for at in range(shape[0])]


@st.composite
def _tensors(draw: st.DrawFn) -> tuple[str, Any]:
    name = draw(st.sampled_from(sorted(_ELEMENTS)))
    shape = draw(st.lists(st.integers(1, 3), max_size=4).map(tuple))
    count = math.prod(shape)
    return name, _nested(draw(st.lists(_ELEMENTS[name], min_size=count, max_size=count)), shape)


def _same(wanted: Any, got: Any) -> bool:
    if isinstance(wanted, list):
        return len(wanted) == len(got) and all(map(_same, wanted, got))
    if isinstance(wanted, float):
        # RapidJSON's last digit of a double is its own.
        return (math.isnan(wanted) and math.isnan(got)) or wanted == got or math.isclose(wanted, got, rel_tol=1e-15)
    return bool(wanted == got)


def _single(value: Any) -> Any:
    """The value as float32, which is what the text of one stands for."""
    return (
        [_single(item) for item in value]
        if isinstance(value, list)
        else struct.unpack("<f", struct.pack("<f", value))[0]
    )


@settings(deadline=None, max_examples=300)
@given(_tensors())
def test_any_tensor_survives_json_model_json(multi: Servable, tensor: tuple[str, Any]) -> None:
    name, value = tensor
    signature = multi.signature(f"id_{_SIGNATURES.get(name, name)}")
    for key in ("inputs", "instances") if isinstance(value, list) else ("inputs",):
        body = json.dumps({key: value}, ensure_ascii=False).encode()
        request = jsonin.predict_input(body, lambda _: signature.inputs)
        outputs = multi.run(signature, request.tensors, signature.outputs, RunMode(10_000))
        if key == "inputs":
            answer = json.loads(jsonout.outputs_document(outputs))["outputs"]
        else:
            answer = json.loads(jsonout.predictions(outputs))["predictions"]
        assert _same(_single(value), _single(answer)) if name == "float" else _same(value, answer)


@settings(deadline=None, max_examples=300)
@given(_tensors(), st.sampled_from(["inputs", "instances", "named", "rows"]))
def test_the_quick_and_the_exact_reader_agree(tensor: tuple[str, Any], form: str) -> None:
    name, value = tensor
    types = {"x": _BY_NAME[name].number}
    documents = {
        "inputs": {"inputs": value},
        "instances": {"instances": [value, value]},
        "named": {"inputs": {"x": value}},
        "rows": {"instances": [{"x": value}], "signature_name": "s"},
    }
    body = json.dumps(documents[form]).encode()
    quick = jsonin.predict_input(body, lambda _: types)
    exact = jsonexact.exact_input(jsonvalue.parse(body), lambda _: types)
    assert quick.tensors.keys() == exact.tensors.keys()
    mine, theirs = quick.tensors["x"], exact.tensors["x"]
    assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
    if name == "double":
        # RapidJSON's last digit is its own; the exact reader has it, Python's does not.
        pairs = zip(mine.values(), theirs.values(), strict=True)
        assert all(a == b or math.isclose(a, b, rel_tol=1e-15) or (a != a and b != b) for a, b in pairs)
    elif name == "float":
        assert all(a == b or (a != a and b != b) for a, b in zip(mine.values(), theirs.values(), strict=True))
    else:
        assert mine.data == theirs.data


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def _plain(value: Any) -> Any:
    if isinstance(value, jsonvalue.Members):
        return {key: _plain(item) for key, item in value}
    return [_plain(item) for item in value] if isinstance(value, list) else value


@settings(deadline=None)
@given(_JSON, st.booleans())
def test_the_exact_reader_reads_what_json_writes(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert _plain(jsonvalue.parse(text.encode("utf-8", "surrogatepass"))) == value
    assert json.loads(jsontext.pretty(jsonvalue.parse(text.encode("utf-8", "surrogatepass")))) == value


@settings(deadline=None, max_examples=400)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.text(alphabet='{}[]",:0123456789.eE+-nulltrefasINinstancesputx\\ud8 ', max_size=40).map(str.encode),
        _JSON.map(lambda value: json.dumps({"instances": value}).encode()),
    )
)
def test_any_bytes_are_read_or_refused_in_words(body: bytes) -> None:
    refusal = None
    try:
        jsonin.predict_input(body, lambda _: {"x": 1})
    except StatusError as error:
        refusal = error
    if refusal is not None:
        assert refusal.code == Code.INVALID_ARGUMENT
        assert json.loads(jsontext.error_document(refusal.message).decode("utf-8", "replace"))["error"]


def test_deep_nesting_is_no_danger(multi: Servable) -> None:
    for body in (b"[" * 200_000, b'{"a":' * 100_000, b'{"instances": ' + b"[" * 10_000 + b"1" + b"]" * 10_000 + b"}"):
        with pytest.raises(StatusError):
            _predict(multi, body)


def _predict(multi: Servable, body: bytes) -> None:
    request = jsonin.predict_input(body, lambda _: {"x": 1})
    Inference(Metrics()).predict(multi, multi.signature("anyrank"), request.tensors, RunMode())


@settings(deadline=None)
@given(st.lists(st.floats(width=32, allow_subnormal=False), min_size=1))
def test_printed_floats_read_back_as_themselves(values: list[float]) -> None:
    texts = jsonout.float_texts(array("f", values), single=True)
    back = [struct.unpack("<f", struct.pack("<f", float(text.replace("Infinity", "inf"))))[0] for text in texts]
    assert all(a == b or (a != a and b != b) for a, b in zip(values, back, strict=True))
    assert all(any(mark in text for mark in ".eNI") for text in texts)


@settings(deadline=None)
@given(st.lists(st.floats(allow_subnormal=False), min_size=1))
def test_printed_doubles_read_back_as_themselves(values: list[float]) -> None:
    texts = jsonout.float_texts(array("d", values), single=False)
    back = [float(text.replace("Infinity", "inf")) for text in texts]
    assert all(a == b or (a != a and b != b) for a, b in zip(values, back, strict=True))


@given(st.binary())
def test_base64_is_taken_with_and_without_padding(data: bytes) -> None:
    import base64

    text = base64.b64encode(data).decode()
    assert jsonexact.decode_base64(text) == data
    assert jsonexact.decode_base64(text.rstrip("=")) == data


def test_strings_are_sent_as_they_are_unless_named_bytes() -> None:
    tensor = Tensor(STRING, (1,), [b"\xff"])
    assert b'["\xff"' in jsonout.predictions({"out": tensor})
    assert b'"b64": "/w=="' in jsonout.predictions({"out_bytes": tensor})
