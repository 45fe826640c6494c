"""The server: its parts put together, its start, its reloads and its end.

The doors open only when every configured model serves; SIGTERM and SIGINT let running requests finish.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from . import TFSERVING_VERSION, config, logs, protos
from .batching import BatchScheduler, check_parameters
from .capi import TensorFlow, library_version, release_memory
from .config import BatchingParameters, ModelConfig, Monitoring
from .errors import Code, StatusError, invalid_argument
from .flags import Flags
from .http import HttpServer
from .inference import Inference
from .listening import has_ipv6, listen
from .manager import Manager
from .metrics import Metrics
from .rest import RestApi
from .servable import Servable, Signature
from .session import RunMode, SessionConfig
from .storage import Storage
from .tensor import Tensor
from .warmup import warm_up

_GRACE_SECONDS: Final = 30.0
"""How long running requests and calls may take to finish after SIGTERM."""

_BUNDLES: Final = "tensorflow_serving/servables/tensorflow/bundle_factory_util.cc"
_SERVER: Final = "tensorflow_serving/model_servers/server.cc"


class Server:
    """A model server, configured by flags."""

    def __init__(self, flags: Flags) -> None:
        """Checks the flags and files; nothing is loaded yet.

        Raises:
            StatusError: they can't be served, in the real server's words.
        """
        self._flags = flags
        logs.log(
            "I", "autograder/modelserver/server.py",
            f"embedded model server: speaks TensorFlow Serving {TFSERVING_VERSION}'s API on TensorFlow's C library"
            f" {library_version()}",
        )  # fmt: skip
        if not flags.text("model_base_path") and not flags.text("model_config_file"):
            raise invalid_argument(
                "Both server_options.model_base_path and server_options.model_config_file are empty!"
            )
        if not flags.number("port") and not flags.text("grpc_socket_path"):
            raise invalid_argument(
                "At least one of server_options.grpc_port or server_options.grpc_socket_path must be set."
            )
        if flags.text("ssl_config_file") or flags.on("use_alts_credentials"):
            # To go on without would serve in the clear what was meant to be encrypted.
            raise StatusError(Code.UNIMPLEMENTED, "The embedded model server has no TLS and no ALTS.")
        self._config = self._read_config()
        self._session_config = self._read_session_config()
        self._batching = self._read_batching()
        self.metrics = Metrics(batching=self._batching is not None)
        self._scheduler: BatchScheduler | None = None
        self.inference = Inference(
            self.metrics, self._run, check_method_names=flags.on("enable_signature_method_name_check")
        )
        self._tags = flags.text("saved_model_tags").split(",")
        self._tensorflow: TensorFlow | None = None
        self.manager = Manager(
            self._load, flags.number("max_num_load_retries"), flags.number("load_retry_interval_micros") / 1e6
        )
        self._storage = Storage(flags.number("file_system_poll_wait_seconds"), self.manager.aspire)
        self._reload_lock = threading.Lock()
        self._stop = threading.Event()

    # Configuration.

    def _read_config(self) -> Any:
        path = self._flags.text("model_config_file")
        if path:
            return config.read_message(path, protos.ModelServerConfig())
        name, base_path = self._flags.text("model_name"), self._flags.text("model_base_path")
        logs.log(
            "I", f"{_SERVER}:71",
            f"Building single TensorFlow model file config:  model_name: {name} model_base_path: {base_path}",
        )  # fmt: skip
        message = protos.ModelServerConfig()
        message.model_config_list.config.add(name=name, base_path=base_path, model_platform="tensorflow")
        return message

    def _read_session_config(self) -> SessionConfig:
        session, intra, inter = (
            self._flags.number(f"tensorflow_{kind}_parallelism") for kind in ("session", "intra_op", "inter_op")
        )
        if session and (intra or inter):
            raise invalid_argument(
                "Either configure server_options.tensorflow_session_parallelism or"
                " (server_options.tensorflow_intra_op_parallelism, server_options.tensorflow_inter_op_parallelism)"
                " separately. You cannot configure all."
            )
        platform_file = self._flags.text("platform_config_file")
        if platform_file and not Path(platform_file).exists():
            raise StatusError(Code.NOT_FOUND, f"{platform_file}; No such file or directory")
        return SessionConfig(session or intra, session or inter)

    def _read_batching(self) -> BatchingParameters | None:
        path = self._flags.text("batching_parameters_file")
        if not self._flags.on("enable_batching"):
            if path:
                raise invalid_argument(
                    "server_options.batching_parameters_file is set without setting server_options.enable_batching to"
                    " true."
                )
            return None
        return config.batching_parameters(path) if path else BatchingParameters()

    # Models.

    def _run(
        self,
        servable: Servable,
        signature: Signature,
        inputs: dict[str, Tensor],
        outputs: tuple[str, ...],
        mode: RunMode,
    ) -> dict[str, Tensor]:
        """Runs a request: in its session, or through the batch queues."""
        if self._scheduler is None:
            return servable.run(signature, inputs, outputs, mode)
        return self._scheduler.run(servable, signature, inputs, outputs, mode)

    def _load(self, name: str, version: int, path: str) -> Servable:
        assert self._tensorflow is not None
        start = time.perf_counter()
        try:
            servable = Servable(self._tensorflow, name, version, path, self._tags, self._session_config)
        except StatusError:
            self.metrics.load_attempts.add(path, "fail")
            raise
        self.metrics.load_attempts.add(path, "success")
        self.metrics.load_latency.add(path, amount=int((time.perf_counter() - start) * 1e6))
        try:
            if self._batching is not None:
                logs.log("I", f"{_BUNDLES}:104", "Wrapping session to perform batch processing")
                check_parameters(self._batching)
            if self._flags.on("enable_model_warmup"):
                warm_up(
                    servable,
                    self.inference,
                    self.metrics,
                    self._flags.number("num_request_iterations_for_warmup"),
                )
        except StatusError:
            servable.unload()
            raise
        if self._scheduler is not None:
            servable.on_unload = self._scheduler.forget
        return servable

    def reload(self, message: Any) -> None:
        """Serves what the ModelServerConfig `message` says, and waits until it does.

        Raises:
            StatusError: the configuration is refused, and nothing changes; or a model can't be loaded.
        """
        with self._reload_lock:
            chosen = message.WhichOneof("config")
            if chosen is None:
                logs.absl_log("I", "server_core.cc:503", "Taking no action for empty config.")
                return
            if chosen == "custom_model_config":
                if self._config is not message:
                    raise StatusError(
                        Code.FAILED_PRECONDITION,
                        "Cannot transition to requested config. It is only legal to transition from one"
                        " ModelConfigList to another.",
                    )
                logs.absl_log("I", "server_core.cc:516", "Adding/updating models.")
                logs.log("F", f"{_SERVER}:64", "ModelServer does not yet support custom model config.")
                os.abort()
            self._apply(config.model_configs(message), message)

    def _apply(self, configs: list[ModelConfig], message: Any) -> None:
        labels = {entry.name: dict(entry.labels) for entry in configs}
        self.manager.check_labels(labels, self._flags.on("allow_version_labels_for_unavailable_models"))
        self.manager.set_labels(labels)
        logs.absl_log("I", "server_core.cc:516", "Adding/updating models.")
        for entry in configs:
            logs.absl_log("I", "server_core.cc:645", f" (Re-)adding model: {entry.name}")
        config.log_deprecated(message)
        config.check_platforms(configs)
        if self._batching is not None and self._scheduler is None:
            self._scheduler = BatchScheduler(self._batching, self.metrics)
        self._storage.watch(configs)
        # While TensorFlow loads the models, in threads of its own, Python has time for a slow import.
        importlib.import_module(f"{__package__}.grpc_server")
        self.manager.wait_until_available([entry.name for entry in configs])
        logs.absl_log("I", "server_core.cc:537", "Finished adding/updating models")

    def _poll_config(self) -> None:
        """Reads the configuration file again and again, and serves what it says."""
        wait = self._flags.number("model_config_file_poll_wait_seconds")
        while not self._stop.wait(wait):
            try:
                message = config.read_message(self._flags.text("model_config_file"), protos.ModelServerConfig())
            except StatusError as error:
                logs.log("E", f"{_SERVER}:126", f"Failed to read ModelServerConfig file: {error.message}")
                continue
            try:
                self.reload(message)
            except StatusError as error:
                logs.log(
                    "E",
                    f"{_SERVER}:133",
                    f"PollFilesystemAndReloadConfig failed to ReloadConfig: {error.message}",
                )

    # Start and end.

    def run(self) -> int:
        """Serves until a signal ends it. Returns the exit code.

        Raises:
            StatusError: it can't start.
        """
        ended = threading.Event()

        def end() -> None:
            ended.set()
            self.manager.stop()

        with _signals(end):
            try:
                self._start()
            except StatusError:
                if ended.is_set():
                    return 0
                logs.log(
                    "I", "tensorflow_serving/core/basic_manager.cc:291",
                    "Unload all remaining servables in the manager.",
                )  # fmt: skip
                self._storage.stop()
                self.manager.stop()
                self.manager.unload_all()
                raise
        return _event_loop_run(self._serve())

    def _start(self) -> None:
        self._tensorflow = TensorFlow()
        self.reload(self._config)
        release_memory()

    async def _serve(self) -> int:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if self._flags.number("model_config_file_poll_wait_seconds") > 0 and self._flags.text("model_config_file"):
            threading.Thread(target=self._poll_config, name="config_poll", daemon=True).start()
        async with contextlib.AsyncExitStack() as stack:
            self._open_grpc(stack)
            await self._open_rest(stack)
            await stop.wait()
            self._stop.set()
            self._storage.stop()
            self.manager.stop()
        return 0

    def _open_grpc(self, stack: contextlib.AsyncExitStack) -> None:
        from .grpc_server import GrpcServer  # imported while the models loaded

        flags = self._flags
        grpc_server = GrpcServer(
            self.manager, self.inference, self.metrics, self.reload,
            threads=flags.number("grpc_max_threads"),
            channel_arguments=flags.text("grpc_channel_arguments"),
            as_content=flags.on("enable_serialization_as_tensor_content"),
            health=flags.on("enable_grpc_healthcheck_service"),
        )  # fmt: skip
        port, path = flags.number("port"), flags.text("grpc_socket_path")
        if port:
            grpc_server.open(f"[::]:{port}" if has_ipv6() else f"0.0.0.0:{port}")
        if path:
            grpc_server.open(f"unix:{path}")
        grpc_server.start()
        if port:
            logs.log("I", f"{_SERVER}:329", f"Running gRPC ModelServer at 0.0.0.0:{port} ...")

        async def close() -> None:
            await asyncio.get_running_loop().run_in_executor(None, grpc_server.stop, _GRACE_SECONDS)

        stack.push_async_callback(close)

    def _monitoring(self) -> Monitoring | None:
        """What to monitor; None if the file is broken, which costs the real server its REST port."""
        path = self._flags.text("monitoring_config_file")
        if not path:
            return Monitoring()
        try:
            return config.monitoring(path)
        except StatusError:
            return None

    async def _open_rest(self, stack: contextlib.AsyncExitStack) -> None:
        port = self._flags.number("rest_api_port")
        if port == 0:
            return
        if port == self._flags.number("port"):
            logs.log(
                "E", f"{_SERVER}:355",
                "server_options.http_port cannot be same as grpc_port. Please use a different port for HTTP/REST API."
                " Skipped exporting HTTP/REST API.",
            )  # fmt: skip
            return
        monitoring = self._monitoring()
        if monitoring is None:
            return
        api = RestApi(
            self.manager, self.inference, self.metrics,
            threads=self._flags.number("rest_api_num_threads"),
            timeout_ms=self._flags.number("rest_api_timeout_in_ms"),
            metrics_path=monitoring.path if monitoring.enabled else None,
            cors=self._flags.on("rest_api_enable_cors_support"),
            always_pool=self._batching is not None,
        )  # fmt: skip
        listener = listen(port & 0xFFFF)
        if listener is None:
            logs.net_log("evhttp_server.cc : 234", f"Couldn't bind to port {port}")
            logs.net_log("evhttp_server.cc : 66", "Server has not been terminated. Force termination now.")
            logs.net_log("evhttp_server.cc : 279", "Server is not running ...")
            logs.log("E", f"{_SERVER}:352", f"Failed to start HTTP Server at localhost:{port}")
            return
        http = HttpServer(api.handle)
        server = await asyncio.get_running_loop().create_server(http.connection, sock=listener, backlog=128)
        logs.log("I", f"{_SERVER}:350", f"Exporting HTTP/REST API at:localhost:{port} ...")
        logs.net_log("evhttp_server.cc : 261", "Entering the event loop ...")

        async def close() -> None:
            server.close()
            await http.drain(_GRACE_SECONDS)
            api.close()

        stack.push_async_callback(close)


@contextlib.contextmanager
def _signals(stop: Callable[[], object]) -> Any:
    """While models load: SIGTERM and SIGINT end the waiting."""
    previous = {number: signal.signal(number, lambda *_: stop()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _event_loop_run(main: Any) -> int:
    if sys.platform != "win32":
        with contextlib.suppress(ImportError):
            import uvloop

            return int(uvloop.run(main))
    return int(asyncio.run(main))
