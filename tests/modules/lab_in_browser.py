"""Opens a notebook in JupyterLab in a real browser and runs all of it: `lab_in_browser.py NOTEBOOK OUT`.

A program, because it is started in a network of its own, with the server and the browser in it. It writes into OUT
what the reader sees at the end (``seen.json``) and a picture of it (``seen.png``).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from chromium import jupyter, opened  # type: ignore[import-not-found]  # beside this file in a run

from autograder.lab import ROOT

READY = """(() => {
  const app = window.jupyterapp, panel = app && app.shell.currentWidget;
  return !!(panel && panel.content && panel.content.widgets && panel.content.widgets.length > 20
            && panel.sessionContext && panel.sessionContext.session && panel.sessionContext.session.kernel
            && panel.sessionContext.session.kernel.status === 'idle');
})()"""
RUN = "window.jupyterapp.commands.execute('notebook:run-all-cells').then(() => true)"
TO_THE_END = """(() => {
  const notebook = window.jupyterapp.shell.currentWidget.content;
  notebook.activeCellIndex = notebook.widgets.length - 1;
  return notebook.scrollToItem(notebook.widgets.length - 1, 'start').then(() => true);
})()"""
FRAME = "document.querySelector('.jp-Notebook iframe[srcdoc]')"
SEEN = f"""(() => {{
  const frame = {FRAME}, cells = window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells;
  const box = frame.getBoundingClientRect();
  return {{
    width: box.width, height: box.height, sandbox: frame.getAttribute('sandbox'), page: frame.srcdoc,
    errors: cells.flatMap(cell => cell.outputs || []).filter(one => one.output_type === 'error').map(one => one.evalue),
  }};
}})()"""


def main(notebook: str, out: Path) -> None:
    with jupyter(ROOT) as server, opened(f"{server}/lab/tree/{notebook}", out / "profile") as page:
        page.wait(READY, "the notebook", 500)
        assert page.ask(RUN) is True
        page.ask(TO_THE_END)
        page.wait(f"!!{FRAME}", "the report")
        page.ask(f"{FRAME}.scrollIntoView()")
        seen = page.ask(SEEN)
        page.picture(out / "seen.png")
    (out / "seen.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    os.environ["no_proxy"] = "127.0.0.1,localhost"
    main(sys.argv[1], Path(sys.argv[2]))
