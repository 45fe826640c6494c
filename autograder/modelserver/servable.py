"""One loaded version of a model: its session, its signatures, and who is using it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from .capi import TensorFlow
from .config import public_text, real_path
from .errors import Code, StatusError, invalid_argument, not_found
from .session import RunMode, Runner, Session, SessionConfig
from .tensor import Tensor, tensor_from_library, tensor_from_proto

DEFAULT_SIGNATURE: Final = "serving_default"
"""The signature that a request means when it names none."""

_CHEAP_SECONDS: Final = 0.001
_LEARNING_RUNS: Final = 3
_SAMPLES: Final = 5
_STEP: Final = 64


class Signature:
    """One signature of a loaded version, ready to run."""

    def __init__(self, name: str, definition: Any) -> None:
        self.name = name
        self.definition = definition
        self.method_name: str = definition.method_name
        self.inputs: dict[str, int] = {alias: definition.inputs[alias].dtype for alias in sorted(definition.inputs)}
        self.outputs: tuple[str, ...] = tuple(sorted(definition.outputs))
        self._runners: dict[tuple[tuple[str, ...], tuple[str, ...]], Runner] = {}
        self._runs = 0
        self._seconds = 0.0
        self._samples = 0
        self._largest = 0

    def runner(self, session: Session, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Runner:
        """The resolved feeds and fetches for these aliases."""
        key = (inputs, outputs)
        found = self._runners.get(key)
        if found is None:
            definition = self.definition
            found = self._runners[key] = session.runner(
                [definition.inputs[alias].name for alias in inputs],
                [definition.outputs[alias].name for alias in outputs],
            )
        return found

    def ran(self) -> None:
        """Counts a run. The first ones optimise the graph and say nothing about its speed."""
        self._runs += 1

    def learn(self, seconds: float, size: int) -> None:
        """Remembers the processor time of an inline run on an input of `size` bytes: the least at the largest size."""
        if size > self._largest:
            self._largest, self._seconds, self._samples = size, seconds, 1
        elif 2 * size >= self._largest:
            self._seconds = min(self._seconds, seconds)
            self._samples += 1

    def is_cheap(self, size: int) -> bool:
        """Whether a run on `size` bytes is known to take less than a millisecond."""
        return 0 < self._seconds < _CHEAP_SECONDS and size <= 2 * self._largest

    def is_worth_learning(self, size: int) -> bool:
        """Whether a run on `size` bytes should be done inline, in a thread of the pool, to learn its time.

        So are the first ones after the graph is optimised, and a larger one if those before were cheap.
        """
        if self._runs < _LEARNING_RUNS:
            return False
        if self._seconds < _CHEAP_SECONDS:
            return not self._largest or 2 * self._largest < size <= _STEP * self._largest
        return self._samples < _SAMPLES and size <= 2 * self._largest


class Servable:
    """A loaded version. It is in use between `acquire` and `release`, and `unload` waits for its users."""

    def __init__(
        self,
        tensorflow: TensorFlow,
        name: str,
        version: int,
        path: str,
        tags: Sequence[str],
        config: SessionConfig,
    ) -> None:
        """Loads the SavedModel in `path`.

        Raises:
            StatusError: TensorFlow's reason, in the words of TensorFlow Serving.
        """
        self._tensorflow = tensorflow
        self.name = name
        self.version = version
        self.path = path
        folder = real_path(path)
        if not any((Path(folder) / file).exists() for file in ("saved_model.pb", "saved_model.pbtxt")):
            raise not_found(
                "Specified file path does not appear to contain a SavedModel bundle (should have a file called"
                f" `saved_model.pb`)\nSpecified file path: {path}"
            )
        try:
            self.size_on_disk = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
            self.session = Session(tensorflow, folder, tags, config)
        except StatusError as error:
            raise StatusError(error.code, public_text(error.message)) from None
        except OSError as error:
            # The folder changes while it is read.
            raise StatusError(Code.UNKNOWN, f"{path}; {error.strerror}") from None
        self.signatures = {alias: Signature(alias, definition) for alias, definition in self.session.signatures.items()}
        self.inline_allowed = self.session.time_is_bounded
        self.on_unload: Callable[[Servable], None] | None = None
        self._users = 0
        self._closed = False
        self._idle = threading.Condition(threading.Lock())

    def signature(self, name: str) -> Signature:
        """The signature that a request names ("" for the default).

        Raises:
            StatusError: there is none of that name.
        """
        found = self.signatures.get(name or DEFAULT_SIGNATURE)
        if found is None:
            raise invalid_argument(f'Serving signature name: "{name or DEFAULT_SIGNATURE}" not found in signature def')
        return found

    def run(
        self, signature: Signature, inputs: dict[str, Tensor], outputs: tuple[str, ...], mode: RunMode
    ) -> dict[str, Tensor]:
        """Runs `signature` on a tensor for each input, for these of its outputs.

        Raises:
            StatusError: the graph's own error.
        """
        runner = signature.runner(self.session, tuple(inputs), outputs)
        values = self.session.run(runner, list(inputs.values()), mode)
        return dict(zip(outputs, values, strict=True))

    def tensor(self, alias: str, proto: Any) -> Tensor:
        """The TensorProto given for the input `alias` as a tensor.

        Raises:
            StatusError: TensorFlow can't read it.
        """
        try:
            handle = tensor_from_proto(self._tensorflow, proto)
        except StatusError:
            raise invalid_argument(f"tensor parsing error: {alias}") from None
        try:
            return tensor_from_library(self._tensorflow, handle)
        finally:
            self._tensorflow.delete_tensor(handle)

    def acquire(self) -> bool:
        """Counts one more user; False if the version is being unloaded."""
        with self._idle:
            if self._closed:
                return False
            self._users += 1
            return True

    def release(self) -> None:
        """Counts one user less."""
        with self._idle:
            self._users -= 1
            if self._closed and not self._users:
                self._idle.notify_all()

    def unload(self) -> None:
        """Takes no more users, waits for those there are, and frees the memory."""
        with self._idle:
            self._closed = True
            self._idle.wait_for(lambda: not self._users)
        if self.on_unload is not None:
            self.on_unload(self)
        self.session.close()
