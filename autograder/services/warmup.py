"""Warm-up requests, as a SavedModel brings them along: a TFRecord file of PredictionLog messages, made by hand.

Sources: TensorFlow Serving's page on SavedModel warm-up, its ``prediction_log.proto``, ``predict.proto`` and
``model.proto``; TensorFlow's page on the TFRecord format; RFC 3720 (iSCSI), appendix B.4, for its checksum.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from autograder.services.savedmodel import tensor_proto
from autograder.services.wire import entry, field

PATH = "assets.extra/tf_serving_warmup_requests"  # in a version folder
_POLYNOMIAL = 0x82F63B78  # CRC-32C, its bits reversed


def warm_up_requests(model: str, input_name: str, rows: NDArray[np.float32]) -> bytes:
    """A file with one request: a ``PredictRequest`` for ``model`` with ``rows``, shape (n, inputs)."""
    request = field(1, field(1, model.encode())) + entry(2, input_name, tensor_proto(rows))
    return _record(field(6, field(1, request)))


def _record(content: bytes) -> bytes:
    """A record of a TFRecord file."""
    size = struct.pack("<Q", len(content))
    return size + _masked_checksum(size) + content + _masked_checksum(content)


def _masked_checksum(data: bytes) -> bytes:
    checksum = 0xFFFFFFFF
    for byte in data:
        checksum ^= byte
        for _ in range(8):
            checksum = checksum >> 1 ^ (_POLYNOMIAL if checksum & 1 else 0)
    checksum ^= 0xFFFFFFFF
    masked = ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return struct.pack("<I", masked)
