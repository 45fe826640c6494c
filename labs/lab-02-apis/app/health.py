"""`python -m app.health` ends with exit code 0 when the API on this machine is alive: the image's health check."""

from __future__ import annotations

import os
import sys
import urllib.request


def alive(port: int) -> bool:
    """Ask the liveness endpoint; whatever goes wrong means no."""
    # YOUR CODE HERE
    raise NotImplementedError("health.py: a part is still to be written")


if __name__ == "__main__":
    sys.exit(0 if alive(int(os.environ.get("PORT", "8000"))) else 1)
