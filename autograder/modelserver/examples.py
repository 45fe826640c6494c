"""A `:classify` or `:regress` request's JSON body as tf.Example messages, by TensorFlow Serving's rules."""

from __future__ import annotations

from typing import Any

from .errors import invalid_argument
from .jsonexact import base64_value, is_base64, request_object, type_name
from .jsontext import pretty
from .jsonvalue import MISSING, Members, parse
from .protos import Example, Input

_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def examples_input(body: bytes) -> tuple[str, list[bytes]]:
    """Reads the body of a request.

    Returns:
        The signature's name ("" for the default) and the serialized examples, each merged with the context.

    Raises:
        StatusError: the request is wrong.
    """
    document, name = request_object(parse(body) if body else MISSING)
    message = Input()
    context = document.find("context")
    if context is not MISSING:
        _fill_example(message.example_list_with_context.context, context)
    examples = document.find("examples")
    if examples is MISSING:
        raise invalid_argument(
            f"JSON Value: {pretty(document)} When method is classify, key 'examples' is expected and was not found"
        )
    if not isinstance(examples, list) or isinstance(examples, Members):
        raise invalid_argument(f"JSON Value: {pretty(document)} Expecting 'examples' value to be an list/array")
    if not examples:
        raise invalid_argument(f"JSON Value: {pretty(document)} 'examples' value is an empty array")
    target = message.example_list if context is MISSING else message.example_list_with_context
    for example in examples:
        _fill_example(target.examples.add(), example)
    return name, serialized_examples(message)


def serialized_examples(message: Any) -> list[bytes]:
    """The examples of an Input message, serialized; a feature that an example lacks comes from the context."""
    kind = message.WhichOneof("kind")
    if kind != "example_list_with_context":
        return [example.SerializeToString() for example in message.example_list.examples]
    given = message.example_list_with_context
    merged = []
    for example in given.examples:
        complete = Example()
        complete.CopyFrom(given.context)
        for key in example.features.feature:
            complete.features.feature[key].CopyFrom(example.features.feature[key])
        merged.append(complete.SerializeToString())
    return merged


def _fill_example(example: Any, value: Any) -> None:
    if not isinstance(value, Members):
        raise invalid_argument(f"Example must be JSON object but got JSON {type_name(value)}")
    for key, content in value:
        feature = example.features.feature[key.encode("utf-8", "replace").decode()]
        feature.Clear()
        is_list = isinstance(content, list) and not isinstance(content, Members)
        for item in content if is_list else [content]:
            _add_value(feature, key, item)


def _add_value(feature: Any, name: str, value: Any) -> None:
    if isinstance(value, bool):
        _values(feature, name, "int64_list").append(int(value))
    elif isinstance(value, int):
        values = _values(feature, name, "int64_list")
        if value >= 2**63:
            raise invalid_argument(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
        values.append(value)
    elif isinstance(value, float):
        _values(feature, name, "float_list").append(value)
    elif isinstance(value, str):
        _values(feature, name, "bytes_list").append(value.encode("utf-8", "surrogateescape"))
    elif is_base64(value):
        _values(feature, name, "bytes_list").append(base64_value(value))
    else:
        raise invalid_argument(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")


def _values(feature: Any, name: str, kind: str) -> Any:
    """The list for values of `kind`; a feature has values of one kind only."""
    present = feature.WhichOneof("kind")
    if present not in (None, kind):
        raise invalid_argument(f"Unexpected element type in feature: {name} expecting type: {_KINDS[present]}")
    return getattr(feature, kind).value
