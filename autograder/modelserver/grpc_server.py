"""TensorFlow Serving's gRPC API: PredictionService and ModelService, on one port."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc

from . import logs, protos
from .errors import Code, StatusError, invalid_argument
from .examples import serialized_examples
from .inference import Inference, example_signature
from .manager import Manager
from .metrics import Metrics
from .servable import DEFAULT_SIGNATURE, Servable
from .session import RunMode

_Method = tuple[Callable[[Any, Any], Any], Any]
"""What answers a call, and the class of its request."""

_STATUS_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


class GrpcServer:
    """The two services."""

    def __init__(
        self,
        manager: Manager,
        inference: Inference,
        metrics: Metrics,
        reload: Callable[[Any], None],
        *,
        threads: int,
        channel_arguments: str = "",
        as_content: bool = False,
        health: bool = False,
    ) -> None:
        """
        Args:
            reload: serves what a ModelServerConfig says.
            channel_arguments: `name=value` pairs with commas between them.
            as_content: put the tensors of answers into `tensor_content`.
            health: also answer the standard health check.
        """
        self._manager = manager
        self._inference = inference
        self._metrics = metrics
        self._reload = reload
        self._as_content = as_content
        self._pool = ThreadPoolExecutor(max_workers=max(threads, 1), thread_name_prefix="grpc")
        options: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ]
        for argument in filter(None, channel_arguments.split(",")):
            name, _, value = argument.partition("=")
            options.append((name, int(value) if value.lstrip("-").isdigit() else value))
        self._server = grpc.server(self._pool, options=options)
        prediction: dict[str, _Method] = {
            "Predict": (self._predict, protos.PredictRequest),
            "Classify": (self._classify, protos.ClassificationRequest),
            "Regress": (self._regress, protos.RegressionRequest),
            "GetModelMetadata": (self._metadata, protos.GetModelMetadataRequest),
        }
        model: dict[str, _Method] = {
            "GetModelStatus": (self._status, protos.GetModelStatusRequest),
            "HandleReloadConfigRequest": (self._reload_config, protos.ReloadConfigRequest),
        }
        for service, methods in (("PredictionService", prediction), ("ModelService", model)):
            self._add(f"tensorflow.serving.{service}", methods)
        if health:
            self._server.add_generic_rpc_handlers((_health_handler(),))

    def open(self, address: str) -> None:
        """Listens on `host:port` or `unix:path`, and answers.

        Raises:
            StatusError: the address can't be had.
        """
        try:
            bound = self._server.add_insecure_port(address)
        except RuntimeError:
            bound = 0
        if not bound:
            raise invalid_argument("Failed to BuildAndStart gRPC server")

    def start(self) -> None:
        """Begins to answer."""
        self._server.start()

    def stop(self, grace_seconds: float | None = None) -> None:
        """Takes no more calls and waits for those there are."""
        self._server.stop(grace_seconds).wait()

    def _add(self, service: str, methods: dict[str, _Method]) -> None:
        handlers: dict[str, Any] = {
            name: grpc.unary_unary_rpc_method_handler(
                _answering(method),
                request_deserializer=request.FromString,
                response_serializer=lambda response: response.SerializeToString(),
            )
            for name, (method, request) in methods.items()
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))

    # PredictionService.

    def _predict(self, request: Any, context: Any) -> Any:
        def work(servable: Servable) -> Any:
            name = request.model_spec.signature_name or DEFAULT_SIGNATURE
            signature = servable.signatures.get(name)
            if signature is None:
                raise StatusError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
            outputs = self._inference.predict(
                servable, signature, dict(request.inputs), _mode(context), list(request.output_filter)
            )
            response = protos.PredictResponse()
            _fill_spec(response.model_spec, servable, name)
            for alias, tensor in outputs.items():
                tensor.to_proto(response.outputs[alias], self._as_content)
            return response

        return self._counted(request, "Predict", work)

    def _classify(self, request: Any, context: Any) -> Any:
        def work(servable: Servable) -> Any:
            signature = example_signature(servable, request.model_spec.signature_name)
            results = self._inference.classify(servable, signature, serialized_examples(request.input), _mode(context))
            response = protos.ClassificationResponse()
            _fill_spec(response.model_spec, servable, signature.name)
            for result in results:
                classes = response.result.classifications.add().classes
                for label, score in result:
                    classes.add(label=label.decode("utf-8", "replace"), score=score)
            return response

        return self._counted(request, "Classify", work)

    def _regress(self, request: Any, context: Any) -> Any:
        def work(servable: Servable) -> Any:
            signature = example_signature(servable, request.model_spec.signature_name)
            values = self._inference.regress(servable, signature, serialized_examples(request.input), _mode(context))
            response = protos.RegressionResponse()
            _fill_spec(response.model_spec, servable, signature.name)
            for value in values:
                response.result.regressions.add(value=value)
            return response

        return self._counted(request, "Regress", work)

    def _metadata(self, request: Any, context: Any) -> Any:
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        if not request.metadata_field:
            raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != "signature_def":
                raise invalid_argument(f"Metadata field {field} is not supported")
        servable = self._servable(request.model_spec)
        try:
            response = protos.GetModelMetadataResponse()
            response.model_spec.name = servable.name
            response.model_spec.version.value = servable.version
            signatures = protos.SignatureDefMap()
            for name, signature in servable.signatures.items():
                signatures.signature_def[name].CopyFrom(signature.definition)
            response.metadata["signature_def"].Pack(signatures)
            return response
        finally:
            servable.release()

    # ModelService.

    def _status(self, request: Any, context: Any) -> Any:
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        spec = request.model_spec
        version = spec.version.value if spec.HasField("version") else None
        response = protos.GetModelStatusResponse()
        for status in self._manager.statuses(spec.name, version):
            entry = response.model_version_status.add(version=status.version, state=int(status.state))
            entry.status.SetInParent()
            if status.error is not None:
                entry.status.error_code = int(status.error.code)
                entry.status.error_message = status.error.message.encode("utf-8", "replace").decode()
        return response

    def _reload_config(self, request: Any, context: Any) -> Any:
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid_argument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently"
                " supported"
            )
        try:
            self._reload(request.config)
        except StatusError as error:
            logs.log(
                "E",
                "tensorflow_serving/model_servers/model_service_impl.cc:57",
                f"ReloadConfig failed: {error.message}",
            )
            raise
        response = protos.ReloadConfigResponse()
        response.status.SetInParent()
        return response

    # What they share.

    def _servable(self, spec: Any) -> Servable:
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        version = spec.version.value if choice == "version" else None
        label = spec.version_label if choice == "version_label" else None
        return self._manager.servable(spec.name, version, label)

    def _counted(self, request: Any, api: str, work: Callable[[Servable], Any]) -> Any:
        """Finds the servable, does the work and counts the request."""
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        name = request.model_spec.name
        start = time.perf_counter()
        try:
            servable = self._servable(request.model_spec)
            try:
                response = work(servable)
            finally:
                servable.release()
        except StatusError as error:
            self._metrics.request_count.add(name, error.code.name)
            raise
        self._metrics.request_count.add(name, "OK")
        self._metrics.request_latency.observe(int((time.perf_counter() - start) * 1e6), name, api, "GRPC")
        return response


def _fill_spec(spec: Any, servable: Servable, signature_name: str) -> None:
    spec.name = servable.name
    spec.version.value = servable.version
    spec.signature_name = signature_name


def _mode(context: Any) -> RunMode:
    """The caller's deadline as a run's."""
    remaining = context.time_remaining()
    # Without a deadline it is None or some hundred years, depending on grpcio's version.
    return RunMode(0 if remaining is None or remaining > 1e6 else max(int(remaining * 1000), 1))


def _answering(method: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A gRPC method: an error of ours becomes the call's status."""

    def answer(request: Any, context: Any) -> Any:
        try:
            return method(request, context)
        except StatusError as error:
            context.abort(_STATUS_CODES[int(error.code)], error.message)

    return answer


def _health_handler() -> Any:
    """grpc.health.v1.Health/Check, by hand: the answer is SERVING, field 1 = 1."""
    check: Any = grpc.unary_unary_rpc_method_handler(lambda request, context: b"\x08\x01")
    return grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": check})
