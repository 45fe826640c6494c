"""The stub's gRPC API: Predict and GetModelStatus, written and read without TensorFlow Serving's package.

That package imports all of TensorFlow. Field numbers are those of ``predict.proto``, ``model.proto``,
``get_model_status.proto``, ``tensor.proto`` and ``tensor_shape.proto``.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np

from autograder.checking.modelstub.core import Array, Core
from autograder.services import wire

AVAILABLE = 30
DT_FLOAT = 1
Method = Callable[[Core, bytes, grpc.ServicerContext], bytes]
THREADS = 128  # more than any check holds at a time
CODES = {
    "unavailable": grpc.StatusCode.UNAVAILABLE,
    "broken": grpc.StatusCode.INTERNAL,
    "invalid": grpc.StatusCode.INVALID_ARGUMENT,
    "hang up": grpc.StatusCode.UNAVAILABLE,  # what a client makes of a connection that breaks
}


def start(core: Core, address: str) -> grpc.Server:
    """Listens. Ends with ``stop``."""
    handlers: dict[str, dict[str, Method]] = {
        "PredictionService": {"Predict": _predict},
        "ModelService": {"GetModelStatus": _status},
    }
    options = [("grpc.max_receive_message_length", 32 << 20), ("grpc.so_reuseport", 0)]
    server = grpc.server(ThreadPoolExecutor(THREADS), options=options)
    for service, methods in handlers.items():
        found: dict[str, Any] = {
            name: grpc.unary_unary_rpc_method_handler(_bound(core, method)) for name, method in methods.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(f"tensorflow.serving.{service}", found),))
    server.add_insecure_port(address)
    server.start()
    return server


def _bound(core: Core, method: Method) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
        core.saw(context.peer())
        return method(core, request, context)

    return handle


def _status(core: Core, _: bytes, __: grpc.ServicerContext) -> bytes:
    return wire.field(1, wire.number(1, core.version) + wire.number(2, AVAILABLE) + wire.field(3, b""))


def _predict(core: Core, request: bytes, context: grpc.ServicerContext) -> bytes:
    rows = _rows(request, core)
    with core.call(rows, context.peer()) as behaviour:
        if behaviour.kind in CODES:
            context.abort(CODES[behaviour.kind], f"the model server is told to be {behaviour.kind}")
        if behaviour.kind == "nonsense":
            return wire.field(1, b"")
        if behaviour.kind == "drip":  # one message has no pieces: it is late as a whole
            behaviour.gate.wait(60)
        if not len(rows):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no rows of the model's size")
        answer = core.model(rows)
        shape = b"".join(wire.field(2, wire.number(1, size)) for size in answer.shape)
        floats = np.ascontiguousarray(answer, dtype="<f4").tobytes()
        tensor = wire.number(1, DT_FLOAT) + wire.field(2, shape) + wire.field(5, floats)
        version = wire.field(2, wire.number(1, core.version))
        spec = wire.field(1, core.name.encode()) + version + wire.field(3, b"serving_default")
        return wire.entry(1, core.model.output_name, tensor) + wire.field(2, spec)


def _rows(request: bytes, core: Core) -> Array:
    """The rows of the model's input; none when they can't be read."""
    inputs = core.model.weights.shape[0]
    try:
        for pair in wire.messages(request, 2):
            (name,) = wire.messages(pair, 1)
            (tensor,) = wire.messages(pair, 2)
            if name.decode() == core.model.input_name:
                content = b"".join(wire.messages(tensor, 4)) or b"".join(wire.messages(tensor, 5))
                return np.frombuffer(content, dtype="<f4").reshape(-1, inputs)
    except ValueError:
        pass
    return np.empty((0, inputs), dtype=np.float32)
