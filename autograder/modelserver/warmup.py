"""Warm-up: the requests that a SavedModel brings along are replayed before a version is available.

They lie in `assets.extra/tf_serving_warmup_requests`, a TFRecord file of PredictionLog messages. A request that
fails, fails the load.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import DecodeError

from . import logs
from .config import real_path
from .errors import Code, StatusError, invalid_argument
from .examples import serialized_examples
from .inference import Inference, example_signature
from .metrics import Metrics
from .protos import PredictionLog
from .servable import Servable
from .session import RunMode

_FILE: Final = "assets.extra/tf_serving_warmup_requests"
_MAX_RECORDS: Final = 1000
_PLACE: Final = "tensorflow_serving/servables/tensorflow/saved_model_warmup_util.cc"


def warm_up(servable: Servable, inference: Inference, metrics: Metrics, iterations: int) -> None:
    """Replays the warm-up requests of a loaded version, if it has some.

    Args:
        iterations: how often each request is run; 0 means once.

    Raises:
        StatusError: a request failed, or the file is no TFRecord file of requests.
    """
    path = f"{servable.path}/{_FILE}"
    file = Path(real_path(path))
    if not file.exists():
        logs.log("I", f"{_PLACE}:85", f"No warmup data file found at {path}")
        return
    options = f"num_request_iterations {{ value: {iterations} }} " if iterations else ""
    logs.log(
        "I", f"{_PLACE}:97",
        f"Starting to read warmup data for model at {path} with model-warmup-options {options}",
    )  # fmt: skip
    start = time.perf_counter()
    count = 0
    mode = RunMode()
    for record in records(file.read_bytes()):
        entry = PredictionLog()
        try:
            entry.ParseFromString(record)
        except DecodeError:
            raise invalid_argument(f"Failed to parse warmup record: {record!r} from {path}") from None
        for _ in range(max(iterations, 1)):
            _replay(entry, servable, inference, mode)
        count += 1
        if count > _MAX_RECORDS:
            raise invalid_argument(f"Number of warmup records exceeds the maximum ({_MAX_RECORDS}) at {path}")
        metrics.warmup_records.add(servable.path)
    microseconds = int((time.perf_counter() - start) * 1e6)
    metrics.warmup_latency.observe(microseconds, servable.path, "OK")
    logs.log(
        "I", f"{_PLACE}:215",
        f"Finished reading warmup data for model at {path}. Number of warmup records read: {count}. Elapsed time"
        f" (microseconds): {microseconds}.",
    )  # fmt: skip


def _replay(entry: Any, servable: Servable, inference: Inference, mode: RunMode) -> None:
    kind = entry.WhichOneof("log_type")
    if kind is None:
        raise StatusError(Code.UNIMPLEMENTED, "Unsupported log_type for warmup: 0")
    request = getattr(entry, kind).request
    name = request.model_spec.signature_name
    if kind == "predict_log":
        signature = servable.signature(name)
        inference.predict(servable, signature, dict(request.inputs), mode, list(request.output_filter))
        return
    signature = example_signature(servable, name)
    examples = serialized_examples(request.input)
    if kind == "classify_log":
        inference.classify(servable, signature, examples, mode)
    else:
        inference.regress(servable, signature, examples, mode)


def records(content: bytes) -> Iterator[bytes]:
    """The records of a TFRecord file: length, its checksum, data, its checksum.

    Raises:
        StatusError: DATA_LOSS, the file is not of that kind or cut off.
    """
    at = 0
    while at < len(content):
        lost = StatusError(
            Code.DATA_LOSS, f"corrupted record at {at}. Please verify your warmup data is in TFRecord format."
        )
        if len(content) < at + 12:
            raise lost
        length, checksum = struct.unpack_from("<QI", content, at)
        data = content[at + 12 : at + 12 + length]
        if checksum != _masked_crc(content[at : at + 8]) or len(content) < at + 16 + length:
            raise lost
        if struct.unpack_from("<I", content, at + 12 + length)[0] != _masked_crc(data):
            raise lost
        yield data
        at += 16 + length


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE: Final = _crc_table()


def _masked_crc(data: bytes) -> int:
    """CRC-32C, masked as TensorFlow's record format does (tensorflow/core/lib/hash/crc32c.h)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
