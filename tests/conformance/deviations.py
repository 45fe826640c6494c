"""Where the embedded server answers otherwise than the real one, and why. Nothing else may differ."""

from __future__ import annotations

from typing import Final

DEVIATIONS: Final[dict[str, str]] = {
    "s8_flags_logs:29": "--rest_api_num_threads=0 aborts the real server; here it means one thread per CPU",
}
"""Recording → reason. A recording is named by its file and its number in it, from 0."""

LOG_DEVIATIONS: Final[dict[str, str]] = {
    "TensorFlow ModelServer: 2.20.0": "the embedded server says what it is in its version",
    "TensorFlow Library: 2.20.0": "the version of the installed TensorFlow",
}
"""Log line → reason."""
