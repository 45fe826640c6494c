"""Where the embedded server answers otherwise than the real one, and why. Nothing else may differ."""

from __future__ import annotations

from typing import Final

_FINISHES = "SIGTERM and SIGINT let running requests finish and end with exit code 0; the real server drops them"
_NO_ROWS = "a request without rows runs alone at once; the real server lets it wait and makes the next one fail"
_RESPONSIVE = "status and unknown paths are answered while every request thread is busy"

DEVIATIONS: Final[dict[str, str]] = {
    "s7_batching:5": _NO_ROWS,
    "s7_batching:15": _NO_ROWS,
    "s7_batching:17": _NO_ROWS,
    "s7_batching:26": _NO_ROWS,
    "s8_flags_logs:2": "--version says that it is the embedded server, and the installed TensorFlow's version",
    "s8_flags_logs:29": "--rest_api_num_threads=0 aborts the real server; here it means one thread per CPU",
    "s8_flags_logs:36": _FINISHES,
    "s8_flags_logs:37": _FINISHES,
    "s9_misc:11": _FINISHES,
    "s9_misc:12": _FINISHES,
    "s9_misc:13": _RESPONSIVE,
    "s9_misc:15": "a request that works longer than its time-out is answered with 504, also with one thread",
}
"""Recording → reason. A recording is named by its file and its number in it, from 0.

Besides these, texts that name an internal of a session (nodes, functions, variables, resources) are compared without
it: which of two failing operations reports first is chance in the real server too. And there is one thing no recording
shows: tensors of different shapes never share a batch, so a wrong request makes no other fail.
"""

LOG_DEVIATIONS: Final[dict[str, str]] = {
    "TensorFlow ModelServer: 2.20.0": "the embedded server says what it is in its version",
    "TensorFlow Library: 2.20.0": "the version of the installed TensorFlow",
}
"""Log line → reason."""
