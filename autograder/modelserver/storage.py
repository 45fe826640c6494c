"""Which versions lie in the models' base paths, looked at again and again.

TensorFlow Serving's rules: a version is a child whose name is a number (`002` and `0` too); a base path that does not
exist stops the whole look, so that a file system that is away for a moment unloads nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from . import logs
from .config import ModelConfig, real_path

AspiredVersions = Callable[[str, dict[int, str]], None]
"""Takes a model's name and the path of each version that should be served."""

_SOURCE = "tensorflow_serving/sources/storage_path/file_system_storage_path_source.cc"


class StorageProblem(Exception):
    """A base path can't be looked at."""


def versions_on_disk(config: ModelConfig) -> dict[int, str]:
    """The versions that `config`'s policy picks from those in its base path: number and path of each.

    Raises:
        StorageProblem: there is no such base path.
    """
    folder = Path(real_path(config.base_path))
    try:
        if not folder.exists():
            raise StorageProblem(
                f"Could not find base path {config.base_path} for servable {config.name} with error NOT_FOUND:"
                f" {config.base_path} not found"
            )
        children = sorted(child.name for child in folder.iterdir())
    except OSError as error:
        raise StorageProblem(f"{config.base_path}; {error.strerror}") from None
    found: dict[int, str] = {}
    for child in children:
        version = _version_number(child)
        if version is None:
            continue
        if version in found:
            logs.log(
                "W", f"{_SOURCE}:161",
                f"Duplicate version directories detected. Version {version} will be loaded from {child},"
                f" {Path(found[version]).name} will be ignored.",
            )  # fmt: skip
        found[version] = f"{config.base_path.rstrip('/')}/{child}"
    picked = _pick(config, found)
    if not picked:
        logs.log(
            "W", f"{_SOURCE}:314",
            f"No versions of servable {config.name} found under base path {config.base_path}. Did you forget to name"
            " your leaf directory as a number (eg. '/1/')?",
        )  # fmt: skip
    return picked


def _version_number(child: str) -> int | None:
    text = child.strip()
    digits = text[1:] if text[:1] == "-" else text
    if not (digits.isascii() and digits.isdigit()):
        return None
    number = int(text)
    return number if 0 <= number < 2**63 else None


def _pick(config: ModelConfig, found: dict[int, str]) -> dict[int, str]:
    policy = config.policy
    if policy.kind == "all":
        return found
    if policy.kind == "latest":
        return {version: found[version] for version in sorted(found)[-policy.latest :]}
    for version in sorted(policy.versions - found.keys()):
        logs.log(
            "W", f"{_SOURCE}:249",
            f"Version {version} of servable {config.name}, which was requested to be served as a 'specific' version in"
            " the servable's version policy, was not found in the file system",
        )  # fmt: skip
    return {version: path for version, path in found.items() if version in policy.versions}


class Storage:
    """Looks at the base paths in a thread of its own and reports what should be served."""

    def __init__(self, poll_wait_seconds: float, aspire: AspiredVersions) -> None:
        """
        Args:
            poll_wait_seconds: time between two looks; 0 looks once, a negative one never.
            aspire: called with what was found, for each model.
        """
        self._wait = poll_wait_seconds
        self._aspire = aspire
        self._configs: Sequence[ModelConfig] = ()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._begun = False

    def watch(self, configs: Sequence[ModelConfig]) -> None:
        """Watches these models from now on, and no others.

        Of the first configuration the first look is taken before this returns. Another one waits for the next look: a
        server that reads its configuration often looks no more often for that.
        """
        with self._lock:
            names = {config.name for config in configs}
            removed = [config.name for config in self._configs if config.name not in names]
            self._configs = tuple(configs)
        for name in removed:
            self._aspire(name, {})
        if self._begun:
            return
        self._begun = True
        if self._wait >= 0:
            self._look()
        if self._wait > 0:
            threading.Thread(target=self._poll, name="file_system_poll", daemon=True).start()

    def stop(self) -> None:
        """Ends the looking."""
        self._stop.set()

    def _poll(self) -> None:
        while not self._stop.wait(self._wait):
            self._look()

    def _look(self) -> None:
        with self._lock:
            try:
                found = [(config.name, versions_on_disk(config)) for config in self._configs]
            except StorageProblem as problem:
                logs.log(
                    "E", f"{_SOURCE}:416",
                    f"FileSystemStoragePathSource encountered a filesystem access error: {problem}",
                )  # fmt: skip
                return
            for name, versions in found:
                self._aspire(name, versions)
