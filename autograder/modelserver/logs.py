"""The log, on standard error, in the two shapes that TensorFlow Serving's log has.

Each function takes the place in the real server that writes the same line, so that students and tools find what they
know from TensorFlow Serving's log; what is said is said by this server about itself.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from datetime import datetime


def log(level: str, place: str, message: str) -> None:
    """A line in TensorFlow's shape: `2026-11-22 08:04:12.308508: I file.cc:71] message`.

    Args:
        level: I, W, E or F.
        place: the source file and line of the real server's message.
    """
    _write(f"{datetime.now():%Y-%m-%d %H:%M:%S.%f}: {level} {place}] {message}\n")


def absl_log(level: str, place: str, message: str) -> None:
    """A line in Abseil's shape: `I0000 00:00:1795334652.308850     850 file.cc:516] message`."""
    _write(f"{level}0000 00:00:{time.time():.6f} {threading.get_native_id():7d} {place}] {message}\n")


def net_log(place: str, message: str) -> None:
    """A line in the shape of TensorFlow Serving's HTTP server."""
    _write(f"[{place}] NET_LOG: {message}\n")


def say(message: str) -> None:
    """A line on standard output, for the person who started the server."""
    try:
        sys.stdout.write(message + "\n")
        sys.stdout.flush()
    except OSError:
        return  # nobody reads it


def _write(line: str) -> None:
    try:
        # One write a line, so that threads and TensorFlow's own log never mix within one.
        os.write(2, line.encode("utf-8", "surrogateescape"))
    except OSError:
        return  # nobody reads it
