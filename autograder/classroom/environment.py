"""Writes ``environment.yml`` for conda and Binder: Python, and a pip part with exactly what ``requirements.lock`` pins.

python -m autograder.classroom.environment [--check]
"""

from __future__ import annotations

import re
import sys

from autograder.lab import ROOT

TARGET = ROOT / "environment.yml"
LOCK = ROOT / "requirements.lock"
HEAD = """# Made from requirements.lock by `make environment`; Binder and `conda env create` build it.
name: model-deployment-and-production
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python=3.12
  - pip
  - pip:
"""
_PIN = re.compile(r"^([A-Za-z0-9._-]+==[^\s;\\]+)(\s*;\s*[^\\]+?)?\s*\\?$", re.MULTILINE)


def environment(lock: str) -> str:
    """The file's text for a lock file's. Raises ValueError when the lock has no pins in it."""
    pins = [f"{pin} {marker.strip()}" if marker else pin for pin, marker in _PIN.findall(lock)]
    if not pins:
        raise ValueError("requirements.lock pins nothing")
    # The course itself comes last: its packages are there already, and pip looks nothing up for it.
    lines = [f'      - "{pin}"' if ";" in pin else f"      - {pin}" for pin in pins]
    return HEAD + "\n".join([*lines, "      - --editable ."]) + "\n"


def main(argv: list[str]) -> int:
    made = environment(LOCK.read_text("utf-8"))
    if "--check" in argv:
        current = TARGET.is_file() and TARGET.read_text("utf-8") == made
        if not current:
            print("environment.yml is not current; `make environment` makes it anew.", file=sys.stderr)
        return 0 if current else 1
    TARGET.write_text(made, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
