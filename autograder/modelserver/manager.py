"""The life of versions: which are loaded, which serve, which are let go, and what their status says.

A version is aspired (START), loads (LOADING), serves (AVAILABLE), and, when it is no longer wanted, is let go
(UNLOADING, END). An old version goes only after a wanted one serves, so no request is left without an answer.
Requests never wait for this module's lock: they read tables that are replaced as a whole.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Final

from . import logs
from .errors import Code, StatusError, invalid_argument, not_found
from .servable import Servable

Loader = Callable[[str, int, str], Servable]
"""Loads (model name, version, path), warm-up included, or raises StatusError."""

_TICK_SECONDS: Final = 0.1
_MANAGER = "tensorflow_serving/core/basic_manager.cc"
_HARNESS = "tensorflow_serving/core/loader_harness.cc"
_ASPIRED = "tensorflow_serving/core/aspired_versions_manager.cc"
_RETRIER = "tensorflow_serving/util/retrier.cc"


class State(IntEnum):
    """ModelVersionStatus.State of TensorFlow Serving's API."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """What the status of a version says."""

    version: int
    state: State
    error: StatusError | None = None


@dataclass(slots=True)
class _Version:
    """A version that the manager looks after."""

    name: str
    version: int
    path: str
    state: State = State.START
    aspired: bool = True
    servable: Servable | None = None
    error: StatusError | None = None
    unwanted: threading.Event = field(default_factory=threading.Event)

    def __str__(self) -> str:
        return f"{{name: {self.name} version: {self.version}}}"


class Manager:
    """Loads and unloads versions as they are aspired."""

    def __init__(self, loader: Loader, max_load_retries: int, retry_interval_seconds: float) -> None:
        self._loader = loader
        self._max_retries = max_load_retries
        self._retry_interval = retry_interval_seconds
        self._changed = threading.Condition()
        self._versions: dict[str, dict[int, _Version]] = {}
        self._statuses: dict[str, dict[int, VersionStatus]] = {}
        self._serving: dict[str, dict[int, Servable]] = {}
        self._latest: dict[str, Servable] = {}
        self._labels: Mapping[str, Mapping[str, int]] = {}
        self._initial = True
        self._stopped = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._manage, name="manage_state", daemon=True)
        self._thread.start()

    # Requests.

    def servable(self, name: str, version: int | None = None, label: str | None = None) -> Servable:
        """The servable that a request means, acquired: the caller releases it.

        Raises:
            StatusError: no such model, version or label.
        """
        if label is not None:
            version = self._labels.get(name, {}).get(label)
            if version is None:
                raise invalid_argument(f"Unrecognized servable version label: {label}")
        while True:
            found = self._latest.get(name) if version is None else self._serving.get(name, {}).get(version)
            if found is None:
                wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
                raise not_found(f"Servable not found for request: {wanted}")
            if found.acquire():
                return found

    def statuses(self, name: str, version: int | None = None) -> list[VersionStatus]:
        """The status of every version that a model has or had, highest first; or of one.

        Raises:
            StatusError: no such model or version.
        """
        with self._changed:
            known = self._statuses.get(name, {})
            if not known:
                raise not_found(f"Could not find any versions of model {name}")
            if version is None:
                return [known[number] for number in sorted(known, reverse=True)]
            if version not in known:
                raise not_found(f"Could not find version {version} of model {name}")
            return [known[version]]

    # Configuration.

    def aspire(self, name: str, versions: Mapping[int, str]) -> None:
        """Says which versions of a model should be served, and where they lie."""
        with self._changed:
            known = self._versions.setdefault(name, {})
            for number, entry in list(known.items()):
                entry.aspired = number in versions
                if not entry.aspired:
                    entry.unwanted.set()
                    if entry.state in (State.START, State.END):
                        self._set_state(entry, State.END)
                        del known[number]
            for number in sorted(versions, reverse=True):
                if number not in known:
                    known[number] = entry = _Version(name, number, versions[number])
                    self._set_state(entry, State.START)
                elif known[number].state == State.AVAILABLE:
                    known[number].unwanted.clear()
            self._changed.notify_all()

    def check_labels(self, labels: Mapping[str, Mapping[str, int]], allow_new_for_unavailable: bool) -> None:
        """Refuses labels on versions that are not available.

        Args:
            labels: version by label by model.
            allow_new_for_unavailable: a label that is new, or stays where it is, may point anywhere; one that moves
                may not.

        Raises:
            StatusError: FAILED_PRECONDITION.
        """
        for name, versions in labels.items():
            for label, version in versions.items():
                moves = self._labels.get(name, {}).get(label, version) != version
                if version not in self._serving.get(name, {}) and (moves or not allow_new_for_unavailable):
                    raise StatusError(
                        Code.FAILED_PRECONDITION,
                        f"Request to assign label to version {version} of model {name}, which is not currently"
                        " available for inference",
                    )

    def set_labels(self, labels: Mapping[str, Mapping[str, int]]) -> None:
        """Replaces all labels."""
        self._labels = {name: dict(versions) for name, versions in labels.items()}

    def wait_until_available(self, names: Sequence[str]) -> None:
        """Waits until each of the models has an available version and nothing of the first load is left to do.

        Raises:
            StatusError: UNKNOWN, if a model has none because its versions failed to load.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or all(self._is_settled(name) for name in names))
            self._initial = False
            if self._stopped:
                raise StatusError(Code.CANCELLED, "The server is shutting down")
            failed = [
                entry
                for name in names
                if not self._serving.get(name)
                for entry in self._versions.get(name, {}).values()
                if entry.error is not None
            ]
        if failed:
            reasons = "".join(f"{{{entry} due to error: {entry.error}}}, " for entry in failed)
            raise StatusError(Code.UNKNOWN, f"{len(failed)} servable(s) did not become available: {{{reasons}}}")

    def stop(self) -> None:
        """Ends all waiting and retrying; what serves goes on serving."""
        with self._changed:
            self._stopped = True
            self._stopping.set()
            for versions in self._versions.values():
                for entry in versions.values():
                    entry.unwanted.set()
            self._changed.notify_all()

    def unload_all(self) -> None:
        """Unloads what serves, after `stop`."""
        with self._changed:
            serving = [
                entry
                for versions in self._versions.values()
                for entry in versions.values()
                if entry.state == State.AVAILABLE
            ]
            for entry in serving:
                entry.aspired = False
                self._set_state(entry, State.UNLOADING)
        for entry in serving:
            self._unload(entry)

    # The manager's own thread.

    def _is_settled(self, name: str) -> bool:
        entries = self._versions.get(name, {}).values()
        if self._initial:
            return any(entry.aspired for entry in entries) and all(
                entry.state in (State.AVAILABLE, State.END) for entry in entries
            )
        return bool(self._serving.get(name)) or any(entry.aspired and entry.state == State.END for entry in entries)

    def _manage(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or any(map(_next_steps, self._versions.values())))
                initial = self._initial
            # The real server's manager looks ten times a second, so START can be seen; only the start hurries.
            if self._stopping.wait(0 if initial else _TICK_SECONDS):
                return
            with self._changed:
                for versions in self._versions.values():
                    for entry in _next_steps(versions):
                        self._step(entry)

    def _step(self, entry: _Version) -> None:
        loads = entry.state == State.START
        if loads:
            entry.state = State.LOADING  # published by the loading thread
        else:
            self._set_state(entry, State.UNLOADING)
        work = self._load if loads else self._unload
        threading.Thread(target=work, args=(entry,), name=f"{work.__name__} {entry}", daemon=True).start()

    def _load(self, entry: _Version) -> None:
        if not self._max_retries:
            _log_exhausted("Reserving resources for", entry, 0)
        logs.log("I", f"{_MANAGER}:786", f"Successfully reserved resources to load servable {entry}")
        logs.log("I", f"{_HARNESS}:70", f"Approving load for servable version {entry}")
        logs.log("I", f"{_HARNESS}:78", f"Loading servable version {entry}")
        with self._changed:
            self._set_state(entry, State.LOADING)
        for attempt in range(self._max_retries + 1):
            if attempt:
                if entry.unwanted.wait(self._retry_interval):
                    logs.log("I", f"{_RETRIER}:46", f"Retrying of Loading servable: {entry} was cancelled.")
                    break
                logs.log("I", f"{_RETRIER}:36", f"Retrying of Loading servable: {entry} retry: {attempt}")
            try:
                servable = self._loader(entry.name, entry.version, entry.path)
            except StatusError as error:
                logs.log("E", f"{_RETRIER}:40", f"Loading servable: {entry} failed: {error}")
                entry.error = error
                continue
            if attempt == self._max_retries:
                _log_exhausted("Loading", entry, self._max_retries)
            logs.log("I", f"{_HARNESS}:104", f"Successfully loaded servable version {entry}")
            with self._changed:
                entry.error = None
                entry.servable = servable
                self._set_state(entry, State.AVAILABLE)
            return
        else:
            _log_exhausted("Loading", entry, self._max_retries)
        logs.log("I", f"{_HARNESS}:181", f"Encountered an error for servable version {entry}: {entry.error}")
        logs.log("E", f"{_ASPIRED}:420", f"Servable {entry} cannot be loaded: {entry.error}")
        with self._changed:
            self._set_state(entry, State.END)
            if entry.unwanted.is_set():
                self._forget(entry)

    def _unload(self, entry: _Version) -> None:
        assert entry.servable is not None
        logs.log("I", f"{_HARNESS}:164", f"Quiescing servable version {entry}")
        logs.log("I", f"{_HARNESS}:171", f"Done quiescing servable version {entry}")
        logs.log("I", f"{_HARNESS}:128", f"Unloading just-loaded servable version {entry}")
        entry.servable.unload()
        logs.log(
            "I", "tensorflow_serving/core/simple_loader.h:397",
            f"Calling MallocExtension_ReleaseToSystem() after servable unload with {entry.servable.size_on_disk}",
        )  # fmt: skip
        logs.log("I", f"{_HARNESS}:136", f"Done unloading servable version {entry}")
        with self._changed:
            entry.servable = None
            self._set_state(entry, State.END)
            self._forget(entry)

    def _forget(self, entry: _Version) -> None:
        """Lets go of an ended version; one that was wanted again meanwhile starts anew."""
        if self._versions[entry.name].get(entry.version) is not entry:
            return
        if entry.aspired:
            renewed = self._versions[entry.name][entry.version] = replace(
                entry, state=State.START, error=None, servable=None, unwanted=threading.Event()
            )
            self._set_state(renewed, State.START)
        else:
            del self._versions[entry.name][entry.version]

    def _set_state(self, entry: _Version, state: State) -> None:
        """Changes a state, its status and the tables that requests read. The lock is held."""
        entry.state = state
        self._statuses.setdefault(entry.name, {})[entry.version] = VersionStatus(
            entry.version, state, entry.error if state == State.END else None
        )
        serving = {
            number: other.servable
            for number, other in self._versions.get(entry.name, {}).items()
            if other.state == State.AVAILABLE and other.servable is not None
        }
        latest = dict(self._latest)
        latest.pop(entry.name, None)
        if serving:
            latest[entry.name] = serving[max(serving)]
        self._serving = {**self._serving, entry.name: serving}
        self._latest = latest
        self._changed.notify_all()


def _log_exhausted(what: str, entry: _Version, retries: int) -> None:
    logs.log(
        "I", f"{_RETRIER}:50",
        f"Retrying of {what} servable: {entry} exhausted max_num_retries: {retries}",
    )  # fmt: skip


def _next_steps(versions: Mapping[int, _Version]) -> list[_Version]:
    """What can be done now for one model: versions to load, highest first, and versions to unload.

    TensorFlow Serving's availability-preserving policy: what serves goes only when something wanted serves, or
    nothing is wanted at all.
    """
    wanted = [entry for entry in versions.values() if entry.aspired]
    loads = sorted((entry for entry in wanted if entry.state == State.START), key=lambda entry: -entry.version)
    if wanted and not any(entry.state == State.AVAILABLE for entry in wanted):
        return loads
    return loads + [entry for entry in versions.values() if not entry.aspired and entry.state == State.AVAILABLE]
