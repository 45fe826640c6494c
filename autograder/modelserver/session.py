"""One SavedModel in TensorFlow's C library: loading it, running it, giving it back.

A `Session` is safe to use from several threads at once; `close` must come after the last run has ended.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from .capi import TensorFlow, TFOutput, bytes_buffer, release_memory
from .errors import not_found
from .protos import ConfigProto, MetaGraphDef, RunOptions
from .tensor import Tensor, tensor_from_library

_DATA_DEPENDENT: Final = (
    "While",
    "For",
    "Enter",
    "NextIteration",
    "Dequeue",
    "Barrier",
    "PyFunc",
    "Stage",
    "Take",
)
"""Parts of the names of operations whose time depends on values, or which may wait for others."""


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """How sessions run: the threads of one operation and across operations; 0 leaves it to TensorFlow."""

    intra_op_parallelism: int = 0
    inter_op_parallelism: int = 0

    def serialized(self) -> bytes:
        """A serialized ConfigProto."""
        config = ConfigProto(
            intra_op_parallelism_threads=self.intra_op_parallelism,
            inter_op_parallelism_threads=self.inter_op_parallelism,
        )
        return bytes(config.SerializeToString())


class RunMode:
    """How one run is done: in the caller's thread, or in the pool with a deadline."""

    def __init__(self, timeout_ms: int = 0, inline: bool = False) -> None:
        """
        Args:
            timeout_ms: after it the run is cancelled and fails with DEADLINE_EXCEEDED; 0 or less: never.
            inline: run every operation in the calling thread, which saves two thread switches (12 instead of
                33 µs for a small model) but can't be cancelled.
        """
        self.timeout_ms = timeout_ms
        self.inline = inline
        options = RunOptions(inter_op_thread_pool=-1) if inline else RunOptions(timeout_in_ms=timeout_ms)
        self._content = bytes(options.SerializeToString())
        self._buffer = bytes_buffer(self._content)
        self.pointer = ctypes.byref(self._buffer) if self._content else None


class Runner:
    """The feeds and fetches of one signature, resolved to operations of the graph once."""

    __slots__ = ("feed_count", "feeds", "fetch_count", "fetches")

    def __init__(self, feeds: Sequence[TFOutput], fetches: Sequence[TFOutput]) -> None:
        self.feed_count = len(feeds)
        self.fetch_count = len(fetches)
        self.feeds = (TFOutput * len(feeds))(*feeds)
        self.fetches = (TFOutput * len(fetches))(*fetches)


class Session:
    """A loaded SavedModel."""

    def __init__(self, tensorflow: TensorFlow, path: str, tags: Sequence[str], config: SessionConfig) -> None:
        """Loads the SavedModel in the folder `path`, its meta graph with `tags`.

        Raises:
            StatusError: TensorFlow's own reason, e.g. DATA_LOSS for a file that is no SavedModel.
        """
        self._tensorflow = tensorflow
        status = tensorflow.new_status()
        options = tensorflow.new_session_options()
        graph = tensorflow.new_graph()
        meta_graph = tensorflow.new_buffer()
        handle = None
        try:
            content = config.serialized()
            tensorflow.set_config(options, content, len(content), status)
            tensorflow.check(status)
            encoded = [tag.encode() for tag in tags]
            handle = tensorflow.load_session(
                options, None, os.fsencode(path), (ctypes.c_char_p * len(encoded))(*encoded), len(encoded),
                graph, meta_graph, status,
            )  # fmt: skip
            tensorflow.check(status)
            definition = MetaGraphDef()
            definition.ParseFromString(ctypes.string_at(meta_graph.contents.data, meta_graph.contents.length))
        except BaseException:
            if handle:
                tensorflow.delete_session(handle, status)
            tensorflow.delete_graph(graph)
            raise
        finally:
            tensorflow.delete_buffer(meta_graph)
            tensorflow.delete_session_options(options)
            tensorflow.delete_status(status)
        self._handle = handle
        self._graph = graph
        self.signatures: dict[str, Any] = dict(definition.signature_def.items())
        self.time_is_bounded = not _is_data_dependent(definition.graph_def)

    def runner(self, feeds: Sequence[str], fetches: Sequence[str]) -> Runner:
        """Resolves tensor names such as `serving_default_x:0`.

        Raises:
            StatusError: the graph has no such tensor.
        """
        return Runner([self._resolve(name) for name in feeds], [self._resolve(name) for name in fetches])

    def run(self, runner: Runner, inputs: Sequence[Tensor], mode: RunMode) -> list[Tensor]:
        """Runs the graph once.

        Args:
            inputs: a tensor for each feed.

        Raises:
            StatusError: the graph's own error.
        """
        tensorflow = self._tensorflow
        count = runner.fetch_count
        feed_values = (ctypes.c_void_p * runner.feed_count)()
        fetch_values = (ctypes.c_void_p * count)()
        status = tensorflow.new_status()
        try:
            for index, value in enumerate(inputs):
                feed_values[index] = value.to_library(tensorflow)
            tensorflow.session_run(
                self._handle, mode.pointer, runner.feeds, feed_values, runner.feed_count,
                runner.fetches, fetch_values, count, None, 0, None, status,
            )  # fmt: skip
            tensorflow.check(status)
            return [tensor_from_library(tensorflow, fetched) for fetched in fetch_values]  # type: ignore[arg-type]
        finally:
            delete = tensorflow.delete_tensor
            for handle in feed_values:
                if handle:
                    delete(handle)
            for handle in fetch_values:
                if handle:
                    delete(handle)
            tensorflow.delete_status(status)

    def close(self) -> None:
        """Frees the session and gives its memory back; it can't be used afterwards."""
        status = self._tensorflow.new_status()
        self._tensorflow.close_session(self._handle, status)
        self._tensorflow.delete_session(self._handle, status)
        self._tensorflow.delete_graph(self._graph)
        self._tensorflow.delete_status(status)
        release_memory()

    def _resolve(self, name: str) -> TFOutput:
        operation, _, index = name.partition(":")
        handle = self._tensorflow.operation_by_name(self._graph, operation.encode())
        if not handle or int(index or 0) >= self._tensorflow.operation_num_outputs(handle):
            raise not_found(
                f"Tensor {name}, specified in either feed_devices or fetch_devices was not found in the Graph"
            )
        return TFOutput(handle, int(index or 0))


def _is_data_dependent(graph: Any) -> bool:
    """Whether a run's time depends on more than the size of its inputs: loops, queues, Python."""
    operations = {node.op for node in graph.node}
    for function in graph.library.function:
        operations.update(node.op for node in function.node_def)
    return any(part in operation for operation in operations for part in _DATA_DEPENDENT)
