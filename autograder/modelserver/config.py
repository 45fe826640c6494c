"""What the server is told to serve and how: the configuration files as frozen, checked values."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from . import logs, protos, textproto
from .errors import Code, StatusError, invalid_argument, not_found

MODELS_ROOT_VARIABLE: Final = "TFSERVING_MODELS_ROOT"
"""Environment variable: where `/models` is, for machines on which it can't be made."""

METRICS_PATH: Final = "/monitoring/prometheus/metrics"
"""Where the metrics are if the monitoring configuration names no path."""

_PUBLIC_ROOT: Final = "/models"


def real_path(path: str) -> str:
    """The folder in which a base path is looked up: `/models/…` may lie elsewhere (TFSERVING_MODELS_ROOT)."""
    if path.startswith("file://"):
        path = urlsplit(path).path
    root = os.environ.get(MODELS_ROOT_VARIABLE)
    if root and (path == _PUBLIC_ROOT or path.startswith(_PUBLIC_ROOT + "/")):
        return str(Path(root).absolute()) + path[len(_PUBLIC_ROOT) :]
    return path


def public_text(text: str) -> str:
    """`text` with the folder that stands for `/models` called `/models` again."""
    root = os.environ.get(MODELS_ROOT_VARIABLE)
    return text.replace(str(Path(root).absolute()), _PUBLIC_ROOT) if root else text


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """Which versions of a model to serve: the `latest` N, `all`, or `specific` ones."""

    kind: str = "latest"
    latest: int = 1
    versions: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model: its name, the folder with its versions, which of them to serve, and labels for versions."""

    name: str
    base_path: str
    platform: str = "tensorflow"
    policy: VersionPolicy = VersionPolicy()
    labels: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class BatchingParameters:
    """How requests are put together into batches (rows, microseconds, batches, threads)."""

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = os.cpu_count() or 1
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    split_large_batches: bool = False
    max_execution_batch_size: int = 0


@dataclass(frozen=True, slots=True)
class Monitoring:
    """Whether and at which path of the REST port the Prometheus metrics are served."""

    enabled: bool = False
    path: str = METRICS_PATH


def read_message(path: str, message: Any) -> Any:
    """Reads a protobuf text file into `message`.

    Raises:
        StatusError: as TensorFlow Serving words it; a syntax error is logged too.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise not_found(f"{path}; No such file or directory") from None
    except IsADirectoryError:
        raise not_found(f"{path}; No such device") from None
    except PermissionError:
        raise StatusError(Code.PERMISSION_DENIED, f"{path}; Permission denied") from None
    except OSError as error:
        raise StatusError(Code.UNKNOWN, f"{path}; {error.strerror}") from None
    if not content:
        # The real server maps the file into memory, and an empty file can't be.
        raise invalid_argument(f"{path}; Invalid argument")
    name = message.DESCRIPTOR.full_name
    try:
        warnings = textproto.parse(content.decode("utf-8", "replace"), message)
    except textproto.SyntaxProblem as problem:
        absl_place = "text_format.cc:430"
        logs.absl_log("E", absl_place, f"Error parsing text-format {name}: {problem}")
        raise invalid_argument(f"Invalid protobuf file: '{path}'") from None
    for warning in warnings:
        logs.absl_log("W", "text_format.cc:445", f"Warning parsing text-format {name}: {warning}")
    return message


def model_configs(message: Any) -> list[ModelConfig]:
    """The models of a ModelServerConfig, each checked by itself and against the others.

    Raises:
        StatusError: as TensorFlow Serving words it.
    """
    configs = [_model_config(entry) for entry in message.model_config_list.config]
    seen: set[str] = set()
    for config in configs:
        if config.name in seen:
            raise invalid_argument(f"Illegal to list model {config.name} multiple times in config list")
        seen.add(config.name)
    for config in configs:
        if not config.base_path.startswith("/") and "://" not in config.base_path:
            raise invalid_argument(
                f"Expected model {config.name} to have an absolute path or URI; got base_path()={config.base_path}"
            )
    return configs


def log_deprecated(message: Any) -> None:
    """Says which models of a ModelServerConfig use the old way to name their platform."""
    for entry in message.model_config_list.config:
        if entry.model_type:
            logs.absl_log(
                "W", "server_core.cc:80",
                "Deprecated ModelServerConfig::model_type field used. Prefer ModelServerConfig::model_platform.",
            )  # fmt: skip


def check_platforms(configs: list[ModelConfig]) -> None:
    """Refuses models that are not TensorFlow's.

    Raises:
        StatusError: no platform, or another one.
    """
    for config in configs:
        if not config.platform:
            raise invalid_argument(
                "Illegal setting neither ModelServerConfig::model_type (deprecated) nor"
                f" ModelServerConfig::model_platform, model name is {config.name}"
            )
        if config.platform != "tensorflow":
            raise invalid_argument(f"Model {config.name} requests unsupported platform {config.platform}")


def _model_config(entry: Any) -> ModelConfig:
    platform = entry.model_platform
    if entry.model_type:
        if platform:
            raise invalid_argument("Illegal setting both model_type(deprecated) and model_platform.")
        platform = "tensorflow" if entry.model_type == 1 else "other"
    chosen = entry.model_version_policy.WhichOneof("policy_choice")
    policy = VersionPolicy()
    if chosen == "all":
        policy = VersionPolicy("all")
    elif chosen == "specific":
        policy = VersionPolicy("specific", versions=frozenset(entry.model_version_policy.specific.versions))
    elif chosen == "latest":
        policy = VersionPolicy(latest=max(entry.model_version_policy.latest.num_versions, 1))
    return ModelConfig(
        entry.name, entry.base_path, platform, policy, MappingProxyType(dict(sorted(entry.version_labels.items())))
    )


def batching_parameters(path: str) -> BatchingParameters:
    """Reads a batching parameters file.

    Raises:
        StatusError: the file can't be read or is not one.
    """
    message = read_message(path, protos.BatchingParameters())
    given: dict[str, Any] = {
        name: getattr(message, name).value
        for name in (
            "max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads",
            "max_execution_batch_size",
        )
        if message.HasField(name)
    }  # fmt: skip
    return BatchingParameters(
        allowed_batch_sizes=tuple(message.allowed_batch_sizes),
        pad_variable_length_inputs=message.pad_variable_length_inputs,
        split_large_batches=message.enable_large_batch_splitting.value,
        **given,
    )


def monitoring(path: str) -> Monitoring:
    """Reads a monitoring configuration file.

    Raises:
        StatusError: the file can't be read or is not one.
    """
    config = read_message(path, protos.MonitoringConfig()).prometheus_config
    return Monitoring(config.enable, config.path or METRICS_PATH)
