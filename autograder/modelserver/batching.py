"""Putting concurrent requests together into one run of the session, as TensorFlow Serving's batching session does.

A task waits in the queue of its signature until its batch is full or `batch_timeout_micros` old; `num_batch_threads`
threads run batches of all queues. Two habits of the real server are mended: tasks whose tensors can't be joined
don't share a batch, so none makes another fail, and a task without rows runs alone at once.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from .config import BatchingParameters
from .errors import Code, StatusError, invalid_argument
from .metrics import Metrics
from .servable import Servable, Signature
from .session import RunMode
from .tensor import Tensor

_THREAD_POOL: Final = ""
_FULL_SECONDS: Final = 0.1
"""How long a full queue may stay full before a task is refused: threads here take turns with Python's lock, so a queue
is full for moments in which the real server's would have moved on."""


@dataclass(slots=True, eq=False)
class _Task:
    """One request, waiting for its part of a batch."""

    inputs: dict[str, Tensor]
    rows: int
    mode: RunMode
    arrived: float = field(default_factory=time.perf_counter)
    done: threading.Event = field(default_factory=threading.Event)
    outputs: dict[str, Tensor] | None = None
    error: StatusError | None = None


@dataclass(slots=True, eq=False)
class _Batch:
    tasks: list[_Task] = field(default_factory=list)
    rows: int = 0
    closed: bool = False


class _Queue:
    """The batches of one signature of one servable, for tensors that fit together."""

    def __init__(self, servable: Servable, signature: Signature) -> None:
        self.servable = servable
        self.signature = signature
        self.batches: deque[_Batch] = deque()


def check_parameters(parameters: BatchingParameters) -> None:
    """The checks that make a load fail.

    Raises:
        StatusError: in the real server's words.
    """
    allowed = parameters.allowed_batch_sizes
    for smaller, larger in pairwise(allowed):
        if larger <= smaller:
            raise invalid_argument("allowed_batch_sizes entries must be monotonically increasing")
    last = parameters.max_execution_batch_size if parameters.split_large_batches else parameters.max_batch_size
    if allowed and allowed[-1] != last:
        raise invalid_argument(
            f"Last entry in allowed_batch_sizes must match max_batch_size; last entry was {allowed[-1]};"
            f" expected {last}"
        )
    if parameters.max_batch_size <= 0:
        raise invalid_argument(f"max_batch_size must be positive; was {parameters.max_batch_size}")
    if parameters.batch_timeout_micros < 0:
        raise invalid_argument(f"batch_timeout_micros must be non-negative; was {parameters.batch_timeout_micros}")
    if parameters.max_enqueued_batches < 0:
        raise invalid_argument(f"max_enqueued_batches must be non-negative; was {parameters.max_enqueued_batches}")


class BatchScheduler:
    """The queues and the threads that empty them."""

    def __init__(self, parameters: BatchingParameters, metrics: Metrics) -> None:
        """
        Raises:
            StatusError: no threads.
        """
        if parameters.num_batch_threads <= 0:
            raise invalid_argument(f"num_batch_threads must be positive; was {parameters.num_batch_threads}")
        self._parameters = parameters
        self._metrics = metrics
        self._changed = threading.Condition()
        self._queues: dict[tuple[Any, ...], _Queue] = {}
        self._next = 0
        for number in range(parameters.num_batch_threads):
            threading.Thread(target=self._work, name=f"batch_{number}", daemon=True).start()

    def run(
        self,
        servable: Servable,
        signature: Signature,
        inputs: dict[str, Tensor],
        outputs: tuple[str, ...],
        mode: RunMode,
    ) -> dict[str, Tensor]:
        """Runs a request as part of a batch, and waits for it.

        Raises:
            StatusError: it can't be batched, the queue is full, or the graph's own error.
        """
        if outputs != signature.outputs:
            # Not the signature's own run: straight to the session, as in the real server.
            self._metrics.wrapped_runs.add()
            return servable.run(signature, inputs, outputs, mode)
        rows = _rows(inputs)
        self._metrics.input_batch_size.observe(rows)
        if rows == 0:
            self._metrics.wrapped_runs.add()
            return servable.run(signature, inputs, outputs, mode)
        task = _Task(inputs, rows, mode)
        self._enqueue(task, servable, signature)
        task.done.wait()
        if task.error is not None:
            raise task.error
        assert task.outputs is not None
        return task.outputs

    def forget(self, servable: Servable) -> None:
        """Drops the queues of a version that is unloaded."""
        with self._changed:
            for key in [key for key, queue in self._queues.items() if queue.servable is servable]:
                del self._queues[key]

    def _enqueue(self, task: _Task, servable: Servable, signature: Signature) -> None:
        parameters = self._parameters
        if task.rows > parameters.max_batch_size:
            raise invalid_argument(
                f"Task size {task.rows} is larger than maximum input batch size {parameters.max_batch_size}"
            )
        pad = parameters.pad_variable_length_inputs
        shapes = tuple((alias, len(tensor.shape) if pad else tensor.shape[1:]) for alias, tensor in task.inputs.items())
        with self._changed:
            key = (id(servable), signature.name, shapes)
            queue = self._queues.get(key)
            if queue is None:
                queue = self._queues[key] = _Queue(servable, signature)
            batch = self._room(queue, task)
            batch.tasks.append(task)
            batch.rows += task.rows
            batch.closed = batch.rows >= parameters.max_batch_size
            self._changed.notify_all()

    def _room(self, queue: _Queue, task: _Task) -> _Batch:
        """The batch that the task goes into. The lock is held.

        Raises:
            StatusError: UNAVAILABLE, the queue is full.
        """
        limit = self._parameters.max_enqueued_batches
        deadline = time.perf_counter() + _FULL_SECONDS
        while True:
            batch = queue.batches[-1] if queue.batches else None
            if batch is not None and not batch.closed:
                if batch.rows + task.rows <= self._parameters.max_batch_size:
                    return batch
                batch.closed = True
                self._changed.notify_all()
            if len(queue.batches) < max(limit, 1):
                batch = _Batch()
                queue.batches.append(batch)
                return batch
            if not self._changed.wait(max(deadline - time.perf_counter(), 0)):
                raise StatusError(
                    Code.UNAVAILABLE,
                    "The batch scheduling queue to which this task was submitted is full; currently"
                    f" {len(queue.batches)} batches enqueued and max_enqueued_batches is {limit}",
                )

    # The batch threads.

    def _work(self) -> None:
        while True:
            queue, batch = self._take()
            now = time.perf_counter()
            for task in batch.tasks:
                self._metrics.queuing_latency.observe((now - task.arrived) * 1e6, _THREAD_POOL)
            try:
                self._process(queue, batch)
            except StatusError as error:
                for task in batch.tasks:
                    task.error = error
            finally:
                for task in batch.tasks:
                    task.done.set()

    def _take(self) -> tuple[_Queue, _Batch]:
        """Waits for a batch that is full or old enough; queues take turns."""
        timeout = self._parameters.batch_timeout_micros / 1e6
        with self._changed:
            while True:
                soonest: float | None = None
                queues = list(self._queues.values())
                for offset in range(len(queues)):
                    queue = queues[(self._next + offset) % len(queues)]
                    if not queue.batches:
                        continue
                    batch = queue.batches[0]
                    wait = timeout - (time.perf_counter() - batch.tasks[0].arrived)
                    if batch.closed or wait <= 0:
                        batch.closed = True
                        queue.batches.popleft()
                        self._changed.notify_all()
                        self._next = (self._next + offset + 1) % len(queues)
                        return queue, batch
                    soonest = wait if soonest is None else min(soonest, wait)
                self._changed.wait(soonest)

    def _process(self, queue: _Queue, batch: _Batch) -> None:
        limit = self._parameters.max_execution_batch_size
        joined = {alias: _join([task.inputs[alias] for task in batch.tasks]) for alias in batch.tasks[0].inputs}
        if self._parameters.split_large_batches and 0 < limit < batch.rows:
            parts = [
                self._execute(queue, {alias: _cut(tensor, at, limit) for alias, tensor in joined.items()}, batch)
                for at in range(0, batch.rows, limit)
            ]
            outputs = {name: _join([part[name] for part in parts]) for name in parts[0]}
        else:
            outputs = self._execute(queue, joined, batch)
        start = 0
        for task in batch.tasks:
            task.outputs = {name: _cut(tensor, start, task.rows) for name, tensor in outputs.items()}
            start += task.rows

    def _execute(self, queue: _Queue, inputs: dict[str, Tensor], batch: _Batch) -> dict[str, Tensor]:
        rows = _rows(inputs)
        size = next((size for size in self._parameters.allowed_batch_sizes if size >= rows), rows)
        if size > rows:
            inputs = {alias: _padded(tensor, size - rows) for alias, tensor in inputs.items()}
        self._metrics.padding_size.observe(size - rows, str(size))
        self._metrics.processed_batch_size.observe(size)
        # The last to give up decides: no task of the batch is cut off before its own time.
        mode = max((task.mode for task in batch.tasks), key=lambda mode: mode.timeout_ms)
        self._metrics.wrapped_runs.add()
        outputs = queue.servable.run(queue.signature, inputs, queue.signature.outputs, mode)
        for tensor in outputs.values():
            if not tensor.shape:
                raise StatusError(Code.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
            if tensor.shape[0] != size:
                raise StatusError(
                    Code.FAILED_PRECONDITION,
                    "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the"
                    " input tensors",
                )
        return {name: _cut(tensor, 0, rows) for name, tensor in outputs.items()}


def _rows(inputs: dict[str, Tensor]) -> int:
    """The size of a task: the 0th dimension, which all of its tensors share."""
    sizes = set()
    for tensor in inputs.values():
        if not tensor.shape:
            raise invalid_argument("Batching Run() input tensors must have at least one dimension")
        sizes.add(tensor.shape[0])
    if len(sizes) > 1:
        raise invalid_argument("Batching Run() input tensors must have equal 0th-dimension size")
    return sizes.pop() if sizes else 0


def _row_size(tensor: Tensor) -> int:
    """Bytes of a row, or strings in a row."""
    size = 1 if isinstance(tensor.data, list) else tensor.dtype.size
    for extent in tensor.shape[1:]:
        size *= extent
    return size


def _cut(tensor: Tensor, start: int, rows: int) -> Tensor:
    """`rows` rows (or what is left) from `start`."""
    rows = min(rows, tensor.shape[0] - start)
    if rows == tensor.shape[0]:
        return tensor
    size = _row_size(tensor)
    return Tensor(tensor.dtype, (rows, *tensor.shape[1:]), tensor.data[start * size : (start + rows) * size])


def _padded(tensor: Tensor, count: int) -> Tensor:
    """The tensor with its first row repeated `count` times at the end."""
    row = tensor.data[: _row_size(tensor)]
    return Tensor(tensor.dtype, (tensor.shape[0] + count, *tensor.shape[1:]), tensor.data + row * count)  # type: ignore[operator]


def _join(tensors: list[Tensor]) -> Tensor:
    """The rows of all tensors; shorter ones are filled with zeros (or empty strings) where padding is on."""
    first = tensors[0]
    if len(tensors) == 1:
        return first
    extents = tuple(map(max, zip(*(tensor.shape[1:] for tensor in tensors), strict=True)))
    data = [tensor.data if tensor.shape[1:] == extents else _widened(tensor, extents) for tensor in tensors]
    rows = sum(tensor.shape[0] for tensor in tensors)
    if isinstance(first.data, list):
        return Tensor(first.dtype, (rows, *extents), [value for part in data for value in part])  # type: ignore[misc]
    return Tensor(first.dtype, (rows, *extents), b"".join(data))  # type: ignore[arg-type]


def _widened(tensor: Tensor, extents: tuple[int, ...]) -> bytes | list[bytes]:
    """The values laid out in rows of `extents`."""
    data: Any = tensor.data
    strings = isinstance(data, list)
    unit = 1 if strings else tensor.dtype.size
    shape = tensor.shape
    # From the innermost dimension outwards, each run of values gets its filling.
    for axis in range(len(shape) - 1, 0, -1):
        run = unit * shape[axis]
        for inner in extents[axis:]:
            run *= inner
        missing = unit * (extents[axis - 1] - shape[axis])
        for inner in extents[axis:]:
            missing *= inner
        filling: Any = [b""] * missing if strings else bytes(missing)
        empty: Any = [] if strings else b""
        parts = [data[at : at + run] + filling for at in range(0, len(data), run)] if run else []
        data = [value for part in parts for value in part] if strings else empty.join(parts)
    return data  # type: ignore[no-any-return]
