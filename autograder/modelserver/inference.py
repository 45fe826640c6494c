"""What a request asks of a loaded version, the same for REST and gRPC: predict, classify, regress.

Each function checks the signature as TensorFlow Serving does, runs it and checks what came out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from .errors import Code, StatusError, invalid_argument
from .metrics import Metrics
from .servable import DEFAULT_SIGNATURE, Servable, Signature
from .session import RunMode
from .tensor import FLOAT, STRING, Tensor

CLASSIFY_METHOD: Final = "tensorflow/serving/classify"
REGRESS_METHOD: Final = "tensorflow/serving/regress"
PREDICT_METHOD: Final = "tensorflow/serving/predict"

_MAX_RANK: Final = 254
"""The dimensions that a tensor can have, tensorflow/core/framework/tensor_shape.h."""

Run = Callable[[Servable, Signature, dict[str, Tensor], tuple[str, ...], RunMode], dict[str, Tensor]]
"""Runs a signature: straight in its session, or through a batch queue."""


def run_session(
    servable: Servable,
    signature: Signature,
    inputs: dict[str, Tensor],
    outputs: tuple[str, ...],
    mode: RunMode,
) -> dict[str, Tensor]:
    """A `Run` without batching."""
    return servable.run(signature, inputs, outputs, mode)


class Inference:
    """Runs requests on servables and counts them."""

    def __init__(self, metrics: Metrics, run: Run = run_session, check_method_names: bool = False) -> None:
        self._metrics = metrics
        self._run = run
        self._check_method_names = check_method_names

    def predict(
        self,
        servable: Servable,
        signature: Signature,
        inputs: dict[str, Any],
        mode: RunMode,
        output_filter: Sequence[str] = (),
    ) -> dict[str, Tensor]:
        """Runs `signature` on a Tensor or TensorProto for each of its inputs.

        Raises:
            StatusError: inputs that don't match, or the graph's own error.
        """
        if self._check_method_names and signature.method_name not in (
            PREDICT_METHOD, CLASSIFY_METHOD, REGRESS_METHOD,
        ):  # fmt: skip
            raise StatusError(
                Code.INTERNAL,
                f"Expected prediction signature method_name to be one of {{{PREDICT_METHOD}, {CLASSIFY_METHOD},"
                f" {REGRESS_METHOD}}}. Was: {signature.method_name}",
            )
        tensors = {
            alias: value if type(value) is Tensor else servable.tensor(alias, value)
            for alias, value in _complete_inputs(signature, inputs).items()
        }
        for alias, tensor in tensors.items():
            if len(tensor.shape) > _MAX_RANK:
                raise invalid_argument(f"tensor parsing error: {alias}")
        outputs = _filtered_outputs(signature, output_filter) if output_filter else signature.outputs
        return self._timed(servable, signature, tensors, outputs, mode, "Predict")

    def classify(
        self, servable: Servable, signature: Signature, examples: Sequence[bytes], mode: RunMode
    ) -> list[list[tuple[bytes, float]]]:
        """Label and score pairs for each serialized Example.

        Raises:
            StatusError: not a classification signature, or the graph's own error.
        """
        if self._check_method_names and signature.method_name != CLASSIFY_METHOD:
            raise invalid_argument(
                f"Expected classification signature method_name to be {CLASSIFY_METHOD}. Was: {signature.method_name}"
            )
        if len(signature.inputs) != 1:
            raise invalid_argument("Expected one input Tensor.")
        if len(signature.outputs) not in (1, 2):
            raise invalid_argument(f"Expected one or two output Tensors, found {len(signature.outputs)}")
        if "inputs" not in signature.inputs:
            raise invalid_argument(
                f"No classification inputs found in SignatureDef: {_debug_text(signature.definition)}"
            )
        outputs = tuple(name for name in ("classes", "scores") if name in signature.outputs)
        if not outputs:
            raise invalid_argument(
                'Expected classification signature outputs to contain at least one of "classes" or "scores".'
                f" Signature was: {_debug_text(signature.definition)}"
            )
        results = self._run_examples(servable, signature, examples, outputs, mode, "Classify")
        return _classifications(results.get("classes"), results.get("scores"), len(examples))

    def regress(
        self, servable: Servable, signature: Signature, examples: Sequence[bytes], mode: RunMode
    ) -> list[float]:
        """A value for each serialized Example.

        Raises:
            StatusError: not a regression signature, or the graph's own error.
        """
        if self._check_method_names and signature.method_name != REGRESS_METHOD:
            raise invalid_argument(
                f"Expected regression signature method_name to be {REGRESS_METHOD}. Was: {signature.method_name}"
            )
        if len(signature.inputs) != 1:
            raise invalid_argument("Expected one input Tensor.")
        if len(signature.outputs) != 1:
            raise invalid_argument("Expected one output Tensor.")
        for given, kind in ((signature.inputs, "inputs"), (signature.outputs, "outputs")):
            if kind not in given:
                raise invalid_argument(
                    f"No regression {kind} found in SignatureDef: {_debug_text(signature.definition)}"
                )
        results = self._run_examples(servable, signature, examples, ("outputs",), mode, "Regress")
        return _regressions(results["outputs"], len(examples))

    def _run_examples(
        self, servable: Servable, signature: Signature, examples: Sequence[bytes], outputs: tuple[str, ...],
        mode: RunMode, api: str,
    ) -> dict[str, Tensor]:  # fmt: skip
        if not examples:
            raise invalid_argument("Input is empty.")
        alias = next(iter(signature.inputs))
        inputs = {alias: Tensor(STRING, (len(examples),), list(examples))}
        return self._timed(servable, signature, inputs, outputs, mode, api)

    def _timed(
        self, servable: Servable, signature: Signature, inputs: dict[str, Tensor], outputs: tuple[str, ...],
        mode: RunMode, api: str,
    ) -> dict[str, Tensor]:  # fmt: skip
        start = time.perf_counter()
        # Processor time, because the clock on the wall says more about the machine than about the graph.
        start_of_thread = time.thread_time() if mode.inline else 0.0
        results = self._run(servable, signature, inputs, outputs, mode)
        if mode.inline:
            signature.learn(time.thread_time() - start_of_thread, input_size(inputs))
        seconds = time.perf_counter() - start
        signature.ran()
        self._metrics.ran(servable.name, api, seconds * 1e6)
        return results


def input_size(inputs: Mapping[str, Tensor]) -> int:
    """The size of a request's inputs in bytes."""
    return sum(
        len(tensor.data) if isinstance(tensor.data, bytes) else sum(len(text) for text in tensor.data)
        for tensor in inputs.values()
    )


def example_signature(servable: Servable, name: str) -> Signature:
    """The signature that a classify or regress request names ("" for the default).

    Raises:
        StatusError: there is none of that name.
    """
    wanted = name or DEFAULT_SIGNATURE
    found = servable.signatures.get(wanted)
    if found is None:
        raise invalid_argument(f"No signature was found with the name: {wanted}")
    return found


def _complete_inputs(signature: Signature, inputs: dict[str, Any]) -> dict[str, Any]:
    """The inputs with the signature's defaults for those that are not given.

    Raises:
        StatusError: too many, too few or unknown ones.
    """
    given, wanted = inputs.keys(), signature.inputs.keys()
    if given == wanted:
        return inputs
    defaults = signature.definition.defaults
    if len(given) > len(wanted) or (len(given) < len(wanted) and not defaults):
        raise invalid_argument(
            f"input size does not match signature: {len(given)}!={len(wanted)} len({{{_joined(given)}}}) !="
            f" len({{{_joined(wanted)}}}). Sent extra: {{{_joined(given - wanted)}}}. Missing but required:"
            f" {{{_joined(wanted - given)}}}."
        )
    complete = {}
    for alias in signature.inputs:
        if alias not in inputs and alias not in defaults:
            raise invalid_argument(
                f"Signature input alias: {alias}(feed name: {signature.definition.inputs[alias].name}) not found in"
                f" request and no default value provided. Inputs expected to be in the request {{{_joined(given)}}},"
                f" or default input alias set: {_joined(defaults)}"
            )
        complete[alias] = inputs[alias] if alias in inputs else defaults[alias]
    if given - wanted:
        raise invalid_argument(
            f"Inputs contains invalid name. Used request inputs: {_joined(given & wanted)}, request input:"
            f" {_joined(given)}"
        )
    return complete


def _joined(names: Iterable[str]) -> str:
    return ",".join(sorted(names))


def _filtered_outputs(signature: Signature, output_filter: Sequence[str]) -> tuple[str, ...]:
    seen: list[str] = []
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set"
                f" {{{','.join(signature.outputs)}}}."
            )
        if alias in seen:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
        seen.append(alias)
    return tuple(seen)


def _classifications(classes: Tensor | None, scores: Tensor | None, count: int) -> list[list[tuple[bytes, float]]]:
    for what, tensor, dtype, type_name in (
        ("classes", classes, STRING, "DT_STRING"), ("scores", scores, FLOAT, "DT_FLOAT"),
    ):  # fmt: skip
        if tensor is None:
            continue
        if len(tensor.shape) != 2:
            raise invalid_argument(f"Expected Tensor shape: [batch_size num_classes] but got {_shape_text(tensor)}")
        if tensor.dtype is not dtype:
            raise invalid_argument(f"Expected {what} Tensor of {type_name}. Got: DT_{tensor.dtype.name.upper()}")
        if tensor.shape[0] != count:
            raise invalid_argument(f"Expected {what} output batch size of {count}. Got: {tensor.shape[0]}")
    if classes is not None and scores is not None and classes.shape[1] != scores.shape[1]:
        raise invalid_argument(
            f"Tensors class and score should match in dim_size(1). Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
    either = classes if classes is not None else scores
    assert either is not None
    width = either.shape[1]
    labels = classes.values() if classes is not None else [b""] * (count * width)
    numbers = scores.values() if scores is not None else [0.0] * (count * width)
    pairs = list(zip(labels, numbers, strict=True))
    return [pairs[row * width : (row + 1) * width] for row in range(count)]


def _regressions(output: Tensor, count: int) -> list[float]:
    if len(output.shape) != 1 and not (len(output.shape) == 2 and output.shape[1] == 1):
        raise invalid_argument(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {_shape_text(output)}"
        )
    if output.shape[0] != count:
        raise invalid_argument(f"Input batch size did not match output batch size: {count} vs. {output.shape[0]}")
    if output.dtype is not FLOAT:
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: DT_{output.dtype.name.upper()}")
    return list(output.values())


def _shape_text(tensor: Tensor) -> str:
    return f"[{','.join(map(str, tensor.shape))}]"


def _debug_text(definition: Any) -> str:
    """The message as protocol buffers' DebugString shows it."""
    from google.protobuf import text_format  # slow to import and needed for this error alone

    return str(text_format.MessageToString(definition))
