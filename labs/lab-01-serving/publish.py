"""Publish versions of a model, and move the labels `stable` and `canary` between them.

    PublishError              a refusal: nothing has changed
    ├── IncompleteModel       the folder holds no complete SavedModel
    ├── UnknownModel          the config file names no such model
    ├── NoSuchLabel           there is nothing to promote, or nothing to roll back to
    ├── NotAvailable          the server has not loaded that version
    ├── ServerUnreachable     the server doesn't answer
    └── NotApplied            the server didn't take the new labels in time; the old ones are back

The config file is the only memory: a promotion notes the version that `stable` leaves under a third label,
`previous`, for a roll-back to return to.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import requests
from google.protobuf import text_format
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

DEADLINE = 30.0  # seconds for the server to act on a new config file, which it looks at every second


class PublishError(Exception):
    """A refusal: nothing has changed."""


class IncompleteModel(PublishError):
    """The folder holds no complete SavedModel."""


class UnknownModel(PublishError):
    """The config file names no such model."""


class NoSuchLabel(PublishError):
    """There is nothing to promote, or nothing to roll back to."""


class NotAvailable(PublishError):
    """The server has not loaded that version."""


class ServerUnreachable(PublishError):
    """The server doesn't answer."""


class NotApplied(PublishError):
    """The server didn't take the new labels in time; the old ones are back."""


def require_complete(export: Path) -> None:
    """Raise IncompleteModel unless `export` holds a SavedModel with its variables.

    A SavedModel message has its schema version in field 1 and its graphs in field 2. Reading the outermost
    fields tells it from something else, and from half of itself, and takes no import of TensorFlow.
    """
    # YOUR CODE HERE
    raise NotImplementedError("publish.py: a part is still to be written")


def publish(export: Path, base: Path) -> int:
    """Copy the SavedModel folder `export` to the next version below `base`; return that version.

    A server that watches `base` sees the whole version or none of it, whichever disks the two folders are on.

    Raises:
        IncompleteModel: `export` is not fit to be served.
    """
    # YOUR CODE HERE
    raise NotImplementedError("publish.py: a part is still to be written")


class Labels:
    """The labels of one model: written in the config file, obeyed by the server that polls it.

    Args:
        model: the model's name in the config file.
        config: the file that the server was started with.
        url: where the server's REST API listens.

    Raises:
        UnknownModel: the config file names no such model.
    """

    def __init__(self, model: str, config: Path, url: str) -> None:
        self._url = f"{url.rstrip('/')}/v1/models/{model}"
        self._http = requests.Session()
        self._http.trust_env = False  # no proxy stands between us and the server
        self._path = config
        self._config = text_format.Parse(config.read_text(), ModelServerConfig())
        entries = [entry for entry in self._config.model_config_list.config if entry.name == model]
        if not entries:
            raise UnknownModel(f"{config} has no model {model}")
        self._labels = entries[0].version_labels

    def current(self) -> dict[str, int]:
        """Return the versions that `stable` and `canary` point at, of those two that there are."""
        return {label: self._labels[label] for label in ("stable", "canary") if label in self._labels}

    def canary(self, version: int) -> None:
        """Point `canary` at `version`.

        Raises:
            PublishError: one of its subclasses, see the top of this file; so do the next two.
        """
        # YOUR CODE HERE
        raise NotImplementedError("publish.py: a part is still to be written")

    def promote(self) -> None:
        """Point `stable` at the version that `canary` points at, and remember the one that it leaves."""
        # YOUR CODE HERE
        raise NotImplementedError("publish.py: a part is still to be written")

    def rollback(self) -> None:
        """Point `stable` back at the version that it had before the last promotion."""
        # YOUR CODE HERE
        raise NotImplementedError("publish.py: a part is still to be written")

    def _move(self, label: str, version: int) -> None:
        """Point `label` at `version`, and return once the server answers so.

        One label at a version that is not loaded makes the server refuse the whole file, or fail every
        request for that label: so ask the server first, and put the file back if it doesn't follow.
        """
        # YOUR CODE HERE
        raise NotImplementedError("publish.py: a part is still to be written")

    def _available(self) -> set[int]:
        """Return the versions that the server would answer for right now."""
        # YOUR CODE HERE
        raise NotImplementedError("publish.py: a part is still to be written")

    def _wait_for(self, label: str, version: int) -> None:
        """Return once the server itself says that it answers for `label` with `version`."""
        # YOUR CODE HERE
        raise NotImplementedError("publish.py: a part is still to be written")

    def _get(self, path: str) -> dict[str, Any]:
        """Return the server's JSON, errors included, for a path below the model's own."""
        try:
            return self._http.get(self._url + path, timeout=5).json()
        except requests.RequestException as error:
            raise ServerUnreachable(f"no answer from {self._url + path}: {error}") from error


def replace_text(path: Path, text: str) -> None:
    """Replace the content of `path` in one step: a reader gets the old text or the new, never a part."""
    # YOUR CODE HERE
    raise NotImplementedError("publish.py: a part is still to be written")


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    publish = commands.add_parser("publish", help="copy a SavedModel to the next version of a model")
    publish.add_argument("export", type=Path, metavar="EXPORT")
    publish.add_argument("base", type=Path, metavar="BASE_PATH")
    labelled = argparse.ArgumentParser(add_help=False)
    labelled.add_argument("model", metavar="MODEL")
    labelled.add_argument("--config", type=Path, default=Path("models.config"))
    labelled.add_argument("--url", default="http://localhost:8501")
    canary = commands.add_parser("canary", parents=[labelled], help="point the label canary at a version")
    canary.add_argument("version", type=int, metavar="VERSION")
    commands.add_parser("promote", parents=[labelled], help="point stable at what canary points at")
    commands.add_parser("rollback", parents=[labelled], help="point stable back at what it was")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Do what the command line asks and return the object to print."""
    if args.command == "publish":
        return {"version": publish(args.export, args.base)}
    labels = Labels(args.model, args.config, args.url)
    match args.command:
        case "canary":
            labels.canary(args.version)
        case "promote":
            labels.promote()
        case "rollback":
            labels.rollback()
    return {"labels": labels.current()}


def main(argv: list[str] | None = None) -> int:
    try:
        print(json.dumps(run(arguments(argv))))
    except (PublishError, OSError, text_format.ParseError) as error:
        print(json.dumps({"error": type(error).__name__, "message": str(error)}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
