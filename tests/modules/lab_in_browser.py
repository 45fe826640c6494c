"""Opens a notebook in JupyterLab in a real browser and runs all of it: `lab_in_browser.py NOTEBOOK OUT`.

A program, because it is started in a network of its own, with the server and the browser in it. It writes into OUT
what the reader sees at the end (``seen.json``) and a picture of it (``seen.png``). The browser is driven by its own
protocol.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import websocket

from autograder.lab import ROOT

PORT, TOKEN = 8890, "a-token-for-this-test"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-port=0",
    "--window-size=1400,1000",
)
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


class Page:
    """A page of the browser, to ask it things."""

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, timeout=600, suppress_origin=True)
        self._numbers = itertools.count(1)

    def command(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            said = json.loads(self._socket.recv())
            if said.get("id") == number:
                return said["result"]

    def ask(self, expression: str) -> Any:
        """The value of an expression, or what its promise comes to."""
        answer = self.command("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        return answer["result"].get("value")


def wait(look: Callable[[], Any], what: str, seconds: float = 600) -> Any:
    """The first true answer; the deadline is for a machine on which nothing moves."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            if found := look():
                return found
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.1)


@contextlib.contextmanager
def program(*argv: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program for as long as the context lasts."""
    with subprocess.Popen([*map(str, argv)], stdin=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def main(notebook: str, out: Path) -> None:
    server = f"http://127.0.0.1:{PORT}"
    browser = next(filter(None, map(shutil.which, CHROMIUM)))
    profile = out / "profile"
    jupyter = (
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"),
        *(f"--port={PORT}", "--ip=127.0.0.1", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={ROOT}"),
    )
    with program(*jupyter):
        wait(lambda: urlopen(f"{server}/api?token={TOKEN}", timeout=5).status == 200, "JupyterLab")
        address = f"{server}/lab/tree/{notebook}?token={TOKEN}"
        with program(browser, *FLAGS, f"--user-data-dir={profile}", address):
            port = wait(lambda: (profile / "DevToolsActivePort").read_text().split("\n")[0], "the browser")
            pages = json.load(urlopen(f"http://127.0.0.1:{port}/json", timeout=30))
            page = Page(next(one["webSocketDebuggerUrl"] for one in pages if one["type"] == "page"))
            try:
                wait(lambda: page.ask(READY), "the notebook", 500)
            except TimeoutError as error:
                said = str(page.ask("document.body.innerText"))[:2000]
                raise TimeoutError(f"the notebook; the page says: {said}") from error
            assert page.ask(RUN) is True
            page.ask(TO_THE_END)
            wait(lambda: page.ask(f"!!{FRAME}"), "the report")
            page.ask(f"{FRAME}.scrollIntoView()")
            seen = page.ask(SEEN)
            picture = page.command("Page.captureScreenshot", format="png")["data"]
    (out / "seen.json").write_text(json.dumps(seen))
    (out / "seen.png").write_bytes(base64.b64decode(picture))


if __name__ == "__main__":
    os.environ["no_proxy"] = "127.0.0.1,localhost"
    main(sys.argv[1], Path(sys.argv[2]))
