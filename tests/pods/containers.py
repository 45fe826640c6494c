"""Whose containers there are, and were."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autograder.pods.docker.engine import LOCK, MACHINE, OURS, Engine


def containers_of(engine: Engine, folder: Path) -> list[Any]:
    """The containers of the pods whose folders and locks lie below ``folder``."""
    found = engine.client.containers.list(all=True, filters={"label": [OURS, MACHINE]}, ignore_removed=True)
    return [box for box in found if str(folder) in str(box.labels)]


@contextlib.contextmanager
def started_below(engine: Engine, folder: Path) -> Iterator[list[str]]:
    """The ids of the images whose containers are started meanwhile, for pods below ``folder``.

    They are heard of as it happens: afterwards an engine only knows its last few hundred events.
    """
    found: list[str] = []
    told = engine.client.events(filters={"type": "container", "event": "start", "label": OURS}, decode=True)

    def listen() -> None:
        for event in told:
            facts = event["Actor"]["Attributes"]
            if str(folder) in facts[LOCK]:
                found.append(facts["image"])

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield found
    finally:
        told.close()
        listener.join(10)
