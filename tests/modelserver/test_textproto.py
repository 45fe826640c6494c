"""Configuration files are read as protocol buffers' own reader reads them, and mistakes are worded as in C++."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from autograder.modelserver import protos, textproto

_INT64 = st.integers(-(2**63), 2**63 - 1)


@st.composite
def _configs(draw: st.DrawFn) -> Any:
    message = protos.ModelServerConfig()
    message.model_config_list.SetInParent()
    for _ in range(draw(st.integers(0, 3))):
        config = message.model_config_list.config.add()
        config.name, config.base_path = draw(st.text()), draw(st.text())
        config.model_platform = "tensorflow"
        config.model_type = draw(st.sampled_from([0, 1, 2]))
        kind = draw(st.sampled_from(["", "latest", "all", "specific"]))
        if kind == "latest":
            config.model_version_policy.latest.num_versions = draw(st.integers(0, 2**32 - 1))
        elif kind == "all":
            config.model_version_policy.all.SetInParent()
        elif kind == "specific":
            config.model_version_policy.specific.versions.extend(draw(st.lists(_INT64, max_size=3)))
        for label in draw(st.lists(st.text(), max_size=2)):
            config.version_labels[label] = draw(_INT64)
    return message


@given(_configs(), st.booleans())
def test_what_protocol_buffers_print_is_read_back(message: Any, one_line: bool) -> None:
    read = protos.ModelServerConfig()
    textproto.parse(text_format.MessageToString(message, as_one_line=one_line), read)
    assert read == message


@given(st.text(alphabet="{}<>[]:;,\"'# \n01abcxmodel_config_list-", max_size=40))
def test_any_text_is_read_or_refused_with_a_position(text: str) -> None:
    refusal = None
    try:
        textproto.parse(text, protos.ModelServerConfig())
    except textproto.SyntaxProblem as problem:
        refusal = str(problem)
    assert refusal is None or refusal.split(":")[0].isdigit()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("max_batch_size: 4", '1:17: Expected "{", found "4".'),
        ("max_batch_size { value: x }", "1:25: Expected integer, got: x"),
        ("max_batch_size { value: 4", "1:26: Expected identifier, got: "),
        ("max_batch_siz { value: 4 }", '1:15: Message type "tensorflow.serving.BatchingParameters" has no field named'),
        ("pad_variable_length_inputs: maybe", "Invalid value for boolean field"),
        ("pad_variable_length_inputs: true\npad_variable_length_inputs: true", "specified multiple times"),
    ],
)
def test_a_mistake_is_named_with_its_position(text: str, problem: str) -> None:
    with pytest.raises(textproto.SyntaxProblem) as raised:
        textproto.parse(text, protos.BatchingParameters())
    assert problem in str(raised.value)


def test_comments_separators_and_short_forms() -> None:
    message = protos.BatchingParameters()
    textproto.parse("# batching\nmax_batch_size < value: 0x10 >;\nallowed_batch_sizes: [2, 4],\n", message)
    assert message.max_batch_size.value == 16
    assert list(message.allowed_batch_sizes) == [2, 4]
