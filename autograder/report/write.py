"""The report's files: ``report.html``, ``results.json`` and ``junit.xml`` in one folder.

Either all three are new or all three are as before: they are rendered and written beside their places first,
and moved into them last, so that a reader never meets half a file and a full disk never eats an older report.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path

from autograder.errors import MachineError
from autograder.report.gradescope import results
from autograder.report.html import render_html
from autograder.report.junit import junit_xml
from autograder.report.model import Report

__all__ = ["write_reports"]


def write_reports(report: Report, folder: Path) -> dict[str, Path]:
    """Write the report's files into ``folder``, which is made if need be; give their paths by file name.

    Raises:
        MachineError: the folder or a file in it can't be written; what was there before is untouched.
    """
    contents = {
        "report.html": render_html(report),
        "results.json": json.dumps(results(report), indent=2, ensure_ascii=False) + "\n",
        "junit.xml": junit_xml(report),
    }
    written: dict[Path, Path] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            written[_write_beside(folder / name, content)] = folder / name
        for temporary, target in written.items():
            temporary.replace(target)
    except OSError as error:
        raise MachineError(
            f"The report can't be written to {folder}: {error.strerror or error}.",
            "A folder that can be written to, on a disk with space left.",
            "Choose another folder with --out, or make room (df -h shows how full each disk is).",
        ) from error
    finally:
        for temporary in written:
            temporary.unlink(missing_ok=True)
    return {name: folder / name for name in contents}


def _write_beside(target: Path, content: str) -> Path:
    """``content`` in a new hidden file next to ``target``, complete and on the disk.

    Raises:
        OSError: it can't be written; nothing of it is left.
    """
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace", newline="\n") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    return temporary
