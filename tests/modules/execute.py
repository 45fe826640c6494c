"""Runs one notebook from top to bottom and stores it with its outputs: `execute.py NOTEBOOK TARGET [--go-on]`.

A program, because it is started in a network of its own. TARGET's metadata tells how many seconds it took, how many
programs wanted each processor meanwhile, and which TCP ports somebody still listens on afterwards; with `--go-on` a
cell that fails does not end the run.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError


def main(source: Path, target: Path, go_on: bool) -> None:
    notebook = nbformat.read(source, as_version=4)
    client = NotebookClient(
        notebook, timeout=150, allow_errors=go_on, resources={"metadata": {"path": str(source.parent)}}
    )
    began = time.monotonic()
    try:
        client.execute()
    except CellExecutionError as error:
        print(error, file=sys.stderr)  # it stands in the notebook, too
    notebook.metadata["seconds"] = time.monotonic() - began
    notebook.metadata["crowd"] = os.getloadavg()[1] / (os.cpu_count() or 1)
    listening = {known.laddr.port for known in psutil.net_connections("tcp") if known.status == psutil.CONN_LISTEN}
    notebook.metadata["listening"] = sorted(listening)
    nbformat.write(notebook, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), "--go-on" in sys.argv)
