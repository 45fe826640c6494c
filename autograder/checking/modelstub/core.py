"""How the stub behaves, what it has seen, and what it says about its model: the same for REST and gRPC."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from autograder.services.savedmodel import Dense

LONGEST_HOLD = 60.0  # seconds: a check that forgets to release holds nobody for ever
Kind = Literal["answer", "hold", "drip", "unavailable", "broken", "invalid", "nonsense", "hang up", "move on"]
Array = NDArray[np.float32]


@dataclass
class Behaviour:
    """What becomes of a call.

    Attributes:
        kind: ``answer``; ``hold`` it until ``gate`` opens, then answer; ``drip`` a byte now and then until it opens;
            answer 503 (``unavailable``), 500 (``broken``) or 400 (``invalid``), or their gRPC likes; answer 200 and
            ``nonsense``; ``hang up`` without an answer; ``move on`` to the next version just before it is answered.
        times: how many calls it is for; those after it are answered. ``None``: all.
        gate: opened by ``release``.
    """

    kind: Kind = "answer"
    times: int | None = None
    gate: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Call:
    """One call to predict.

    Attributes:
        at: when it came, ``time.monotonic``.
        rows: what it asks about, shape (n, inputs); empty when that can't be read.
        connection: a name for the connection that it came through.
    """

    at: float
    rows: Array
    connection: str


class Core:
    """One model, one behaviour, and a memory.

    Attributes:
        model: what answers.
        name, version: the model's name, and the one version of it.
        calls: every call to predict so far, in the order of their coming.
        connections: the names of all connections that any request came through.
    """

    def __init__(self, model: Dense, name: str, version: int) -> None:
        self.model, self.name, self.version = model, name, version
        self.calls: list[Call] = []
        self.connections: set[str] = set()
        self._next: tuple[Dense, int] = model, version
        self._behaviour = Behaviour()
        self._left: int | None = None
        self._in_flight = self._peak = 0
        self._changed = threading.Condition()

    # -- what a check does with it -----------------------------------------------------------------------------------

    @contextmanager
    def behaving(self, kind: Kind, *, times: int | None = None) -> Iterator[None]:
        """Behaves so until the end of the context, then well again; forgets what it saw before."""
        self.forget()
        with self._changed:
            before = self._behaviour
            self._behaviour, self._left = Behaviour(kind, times), times
            mine = self._behaviour
        try:
            yield
        finally:
            with self._changed:
                self._behaviour, self._left = Behaviour(), None
            before.gate.set()
            mine.gate.set()

    def prepare(self, model: Dense, version: int) -> None:
        """Says what to ``move on`` to."""
        self._next = model, version

    def release(self) -> None:
        """Lets every call go on that is held, and holds no more."""
        with self._changed:
            self._behaviour.gate.set()

    def forget(self) -> None:
        """Forgets the calls and connections so far."""
        with self._changed:
            self.calls, self.connections = [], set()
            self._peak = self._in_flight

    def wait_in_flight(self, count: int, quiet: float = 15.0) -> int:
        """Waits until ``count`` calls are being held at the same time; gives the most that there were.

        Args:
            count: how many to wait for.
            quiet: seconds in which not one more comes, after which nobody waits on.
        """
        with self._changed:
            came = time.monotonic()
            while self._in_flight < count and (left := came + quiet - time.monotonic()) > 0:
                before = self._peak
                self._changed.wait(left)
                came = time.monotonic() if self._peak > before else came
            return self._peak

    # -- what its two servers ask --------------------------------------------------------------------------------------

    def saw(self, connection: str) -> None:
        with self._changed:
            self.connections.add(connection)

    @contextmanager
    def call(self, rows: Array, connection: str) -> Iterator[Behaviour]:
        """One call, from its coming to its end: what is to become of it."""
        with self._changed:
            self.calls.append(Call(time.monotonic(), rows, connection))
            behaviour = self._behaviour
            if self._left is not None:
                self._left -= 1
                if self._left < 0:
                    behaviour = Behaviour()
            if behaviour.kind == "move on":
                self.model, self.version = self._next
            self._in_flight += 1
            self._peak = max(self._peak, self._in_flight)
            self._changed.notify_all()
        try:
            if behaviour.kind == "hold":
                behaviour.gate.wait(LONGEST_HOLD)
            yield behaviour
        finally:
            with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()

    def status(self) -> bytes:
        """The answer to a GET of the model."""
        fine = {"error_code": "OK", "error_message": ""}
        state = {"version": str(self.version), "state": "AVAILABLE", "status": fine}
        return json.dumps({"model_version_status": [state]}).encode()

    def metadata(self) -> bytes:
        """The answer to a GET of its metadata."""

        def tensor(name: str, size: int, node: str) -> dict[str, object]:
            dims = [{"size": "-1", "name": ""}, {"size": str(size), "name": ""}]
            shape = {"dim": dims, "unknown_rank": False}
            return {name: {"dtype": "DT_FLOAT", "tensor_shape": shape, "name": node}}

        inputs, outputs = self.model.weights.shape
        signature = {
            "inputs": tensor(self.model.input_name, inputs, "x:0"),
            "outputs": tensor(self.model.output_name, outputs, "y:0"),
            "method_name": "tensorflow/serving/predict",
            "defaults": {},
        }
        spec = {"name": self.name, "signature_name": "", "version": str(self.version)}
        return json.dumps(
            {"model_spec": spec, "metadata": {"signature_def": {"signature_def": {"serving_default": signature}}}}
        ).encode()
