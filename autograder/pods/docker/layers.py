"""Looks through what an image keeps: the files that a command wrote or a COPY brought, the history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

MOST = 200  # paths that are looked at one by one; of more, their folders are
SECONDS = 600
CHANGED, ADDED = 0, 1
FOLDER = 1 << 31  # of Go's file modes


def in_container(api: Any, container: str, needles: tuple[bytes, ...]) -> set[bytes]:
    """The needles in the files that a container has changed or added.

    The base image holds none of them, so to look at more than was changed finds nothing more.
    """
    if not needles:
        return set()
    # The engine compares every file of the image, which a busy machine needs more than the usual minute for.
    answer = api._get(api._url("/containers/{0}/changes", container), timeout=SECONDS)
    changes = {change["Path"]: change["Kind"] for change in api._result(answer, True) or ()}
    parents = {_folder(path) for path in changes}
    tops = {path for path, kind in changes.items() if kind == ADDED and changes.get(_folder(path)) != ADDED}
    tops |= {path for path, kind in changes.items() if kind == CHANGED and path not in parents}
    whole: set[str] = set()
    while len(tops) + len(whole) > MOST:
        deepest = max(path.count("/") for path in tops | whole)
        whole = {_folder(path) if path.count("/") == deepest else path for path in tops | whole}
        tops = set()
    found: set[bytes] = set()
    for path in tops | whole:
        chunks, status = api.get_archive(container, path or "/")
        if path in tops and changes[path] == CHANGED and status["mode"] & FOLDER:
            chunks.close()  # only its rights were changed; what is in it was not
        else:
            found |= search(chunks, needles)
    return found


def in_path(api: Any, container: str, path: str, needles: tuple[bytes, ...]) -> set[bytes]:
    """The needles in a file of a container, or in all files of a folder."""
    return search(api.get_archive(container, path)[0], needles)


def in_history(api: Any, image: str, needles: tuple[bytes, ...]) -> set[bytes]:
    """The needles in an image's configuration and history."""
    config = api.inspect_image(image)["Config"]
    said = [entry.get("CreatedBy", "") + entry.get("Comment", "") for entry in api.history(image)]
    said += [*(config.get("Env") or ()), *(config.get("Labels") or {}).values()]
    text = "\n".join(said).encode("utf-8", "replace")
    return {needle for needle in needles if needle and needle in text}


def search(chunks: Iterable[bytes], needles: tuple[bytes, ...]) -> set[bytes]:
    """The needles in a stream."""
    found: set[bytes] = set()
    longest = max((len(needle) for needle in needles), default=0)
    tail = b""
    for chunk in chunks:
        text = tail + chunk
        found |= {needle for needle in needles if needle and needle not in found and needle in text}
        tail = text[-(longest - 1) :] if longest > 1 else b""
    return found


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def env_of(config: Mapping[str, Any]) -> dict[str, str]:
    """The variables of an image's configuration."""
    return dict(entry.partition("=")[::2] for entry in config.get("Env") or ())


def health_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The command of its health check; empty when it has none."""
    kind, *words = (config.get("Healthcheck") or {}).get("Test") or ["NONE"]
    if kind == "CMD":
        return tuple(words)
    return (*(config.get("Shell") or ("/bin/sh", "-c")), *words) if kind == "CMD-SHELL" else ()
