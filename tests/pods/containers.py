"""Whose containers there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autograder.pods.docker.engine import MACHINE, OURS, Engine


def containers_of(engine: Engine, folder: Path) -> list[Any]:
    """The containers of the pods whose folders and locks lie below ``folder``."""
    found = engine.client.containers.list(all=True, filters={"label": [OURS, MACHINE]}, ignore_removed=True)
    return [box for box in found if str(folder) in str(box.labels)]
