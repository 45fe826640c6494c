"""Where the embedded server answers otherwise than the real one, and why. Nothing else may differ."""

from __future__ import annotations

from typing import Final

DEVIATIONS: Final[dict[str, str]] = {}
"""Recording → reason. A recording is named by its file and its number in it, from 0."""
