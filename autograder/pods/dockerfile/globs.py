"""``*``, ``?``, ``[a-z]`` and ``**`` in paths, in time that no pattern can blow up.

A segment is matched by Python's ``fnmatch``, whose expressions do not backtrack; ``**`` by a table.
"""

from __future__ import annotations

import fnmatch
import functools
import posixpath
import re
from collections.abc import Sequence


def magic(pattern: str) -> bool:
    """Whether a path is a pattern."""
    return any(character in pattern for character in "*?[")


def clean(path: str) -> str:
    """A path of a context without ``.``, ``..`` and slashes too many; ``""`` is the context itself."""
    return posixpath.normpath("/" + path).lstrip("/")


@functools.lru_cache(4096)
def _segment(pattern: str) -> re.Pattern[str]:
    """One segment, in Go's way of writing: ``[^a]`` is a negation, a backslash takes the meaning away."""
    pattern = re.sub(r"\\(.)", lambda match: f"[{match[1]}]", pattern).replace("[^", "[!")
    return re.compile(fnmatch.translate(pattern), re.DOTALL)


def match(pattern: str, path: str) -> bool:
    """Whether a pattern means just this path."""
    return _match(tuple(pattern.split("/")), path.split("/"))


def _match(pattern: tuple[str, ...], path: Sequence[str]) -> bool:
    # The lengths of the path's beginnings that the pattern's beginning means.
    reached = {0}
    for part in pattern:
        if part == "**":
            reached = set(range(min(reached), len(path) + 1)) if reached else set()
        else:
            found = _segment(part)
            reached = {size + 1 for size in reached if size < len(path) and found.match(path[size])}
        if not reached:
            return False
    return len(path) in reached


class Ignored:
    """What a ``.dockerignore`` leaves out."""

    def __init__(self, text: str) -> None:
        self._patterns: list[tuple[bool, tuple[str, ...]]] = []
        for line in text.removeprefix("\ufeff").splitlines():
            pattern = line.strip()
            if not pattern or line.startswith("#"):
                continue
            back = pattern.startswith("!")
            cleaned = clean(pattern.lstrip("!").strip() if back else pattern)
            if cleaned:
                self._patterns.append((back, tuple(cleaned.split("/"))))

    def __call__(self, path: str) -> bool:
        """The last pattern that means a file, or a folder that it is in, decides."""
        parts = path.split("/")
        found = False
        for back, pattern in self._patterns:
            # Only what would change the answer is looked at.
            if back == found and any(_match(pattern, parts[:size]) for size in range(1, len(parts) + 1)):
                found = not back
        return found
