"""Talks to a model server through the official client package, and prints what it saw as JSON.

A program of its own because `tensorflow_serving.apis` imports all of TensorFlow.
Usage: python official_client.py HOST:PORT
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import grpc
import tensorflow as tf
from google.protobuf.wrappers_pb2 import Int64Value
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

_TYPES = [
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "bool",
    "complex64",
]


def _error(call: Callable[[], Any]) -> list[str]:
    try:
        call()
    except grpc.RpcError as error:
        return [error.code().name, error.details()]
    return ["OK", ""]


def _example(**features: float) -> tf.train.Example:
    return tf.train.Example(
        features=tf.train.Features(
            feature={
                name: tf.train.Feature(float_list=tf.train.FloatList(value=[value])) for name, value in features.items()
            }
        )
    )


def main(address: str) -> dict[str, Any]:
    """Makes the calls."""
    channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)])
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    models = model_service_pb2_grpc.ModelServiceStub(channel)
    seen: dict[str, Any] = {}

    def predict(model: str, signature: str = "", spec: dict[str, Any] | None = None, **inputs: Any) -> Any:
        request = predict_pb2.PredictRequest(
            model_spec=model_pb2.ModelSpec(name=model, signature_name=signature, **(spec or {}))
        )
        for alias, value in inputs.items():
            request.inputs[alias].CopyFrom(value if hasattr(value, "tensor_shape") else tf.make_tensor_proto(value))
        return stub.Predict(request, timeout=30)

    answer = predict("lin", x=[[1.0, 2.0, 3.0]])
    seen["predict"] = tf.make_ndarray(answer.outputs["y"]).tolist()
    seen["spec"] = [answer.model_spec.name, answer.model_spec.version.value, answer.model_spec.signature_name]
    many = predict("lin", x=tf.ones([1000, 3]).numpy())
    seen["thousand"] = list(tf.make_ndarray(many.outputs["y"]).shape)
    seen["types"] = {}
    for name in _TYPES:
        dtype = getattr(tf, name)
        value = tf.cast(tf.constant([1, 0, 1]), dtype)
        proto = tf.make_tensor_proto(value)
        echoed = predict("multi", f"id_{name}", x=proto).outputs["y"]
        seen["types"][name] = bool((tf.make_ndarray(echoed) == value.numpy()).all()) and echoed.dtype == proto.dtype
    strings = predict("multi", "id_string", x=tf.make_tensor_proto([b"a", b"\xff" * 100]))
    seen["types"]["string"] = tf.make_ndarray(strings.outputs["y"]).tolist() == [b"a", b"\xff" * 100]
    filtered = predict_pb2.PredictRequest(model_spec=model_pb2.ModelSpec(name="multi"), output_filter=["i2"])
    filtered.inputs["f"].CopyFrom(tf.make_tensor_proto([[1.0, 2.0]]))
    filtered.inputs["i"].CopyFrom(tf.make_tensor_proto([4], dtype=tf.int64))
    filtered.inputs["s"].CopyFrom(tf.make_tensor_proto(["x"]))
    filtered.inputs["b"].CopyFrom(tf.make_tensor_proto([True]))
    seen["filtered"] = {k: tf.make_ndarray(v).tolist() for k, v in stub.Predict(filtered).outputs.items()}

    request = classification_pb2.ClassificationRequest(model_spec=model_pb2.ModelSpec(name="cls"))
    request.input.example_list.examples.append(_example(x=1.0))
    result = stub.Classify(request).result
    seen["classify"] = [[(each.label, each.score) for each in one.classes] for one in result.classifications]
    request = regression_pb2.RegressionRequest(model_spec=model_pb2.ModelSpec(name="cls", signature_name="regress"))
    request.input.example_list_with_context.context.CopyFrom(_example(x=4.0))
    request.input.example_list_with_context.examples.extend([tf.train.Example(), _example(x=1.0)])
    seen["regress"] = [each.value for each in stub.Regress(request).result.regressions]

    metadata = stub.GetModelMetadata(
        get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=model_pb2.ModelSpec(name="lin"), metadata_field=["signature_def"]
        )
    )
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert metadata.metadata["signature_def"].Unpack(signatures)
    info = signatures.signature_def["serving_default"].inputs["x"]
    seen["metadata"] = [info.name, info.dtype, [dim.size for dim in info.tensor_shape.dim]]
    status = models.GetModelStatus(
        get_model_status_pb2.GetModelStatusRequest(model_spec=model_pb2.ModelSpec(name="lin"))
    )
    seen["status"] = [[each.version, each.state, each.status.error_code] for each in status.model_version_status]

    no_version = {"version": Int64Value(value=99)}
    slow = predict_pb2.PredictRequest(model_spec=model_pb2.ModelSpec(name="multi", signature_name="slow"))
    slow.inputs["n"].CopyFrom(tf.make_tensor_proto([20_000_000]))
    reload = model_management_pb2.ReloadConfigRequest()
    reload.config.model_config_list.config.add(name="lin", base_path="relative", model_platform="tensorflow")
    spec = model_pb2.ModelSpec
    seen["errors"] = {
        "no model": _error(lambda: predict("nope", x=[[1.0]])),
        "no name": _error(lambda: predict("", x=[[1.0]])),
        "no version": _error(lambda: predict("lin", spec=no_version, x=[[1.0]])),
        "no label": _error(lambda: predict("lin", spec={"version_label": "nope"}, x=[[1.0]])),
        "no signature": _error(lambda: predict("lin", "nope", x=[[1.0]])),
        "no input": _error(lambda: predict("lin")),
        "other input": _error(lambda: predict("lin", z=[[1.0, 2.0, 3.0]])),
        "shape": _error(lambda: predict("lin", x=[[1.0]])),
        "type": _error(lambda: predict("lin", x=[[1]])),
        "deadline": _error(lambda: stub.Predict(slow, timeout=0.5))[:1],
        "no field": _error(
            lambda: stub.GetModelMetadata(get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec(name="lin")))
        ),
        "status of none": _error(
            lambda: models.GetModelStatus(get_model_status_pb2.GetModelStatusRequest(model_spec=spec(name="nope")))
        ),
        "reload": _error(lambda: models.HandleReloadConfigRequest(reload)),
    }
    return seen


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
