"""Jupyter and a real browser, for programs that look at what a reader sees.

Such a program runs in a network of its own, with the server and the browser in it. The browser is driven by its own
protocol.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import websocket

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

    def go(self, address: str) -> None:
        """Opens another address in its place; returns when the earlier page is gone."""
        self.ask("window.isBeforeGoing = true")
        self.command("Page.navigate", url=address)
        self.wait("!window.isBeforeGoing", address)

    def wait(self, expression: str, what: str, seconds: float = 600) -> Any:
        """The first true value of an expression; otherwise an error with what the page says instead."""
        try:
            return wait(lambda: self.ask(expression), what, seconds)
        except TimeoutError as error:
            said = str(self.ask("document.body.innerText"))[:2000]
            raise TimeoutError(f"{what}; the page says: {said}") from error

    def picture(self, target: Path) -> None:
        """Writes what is seen, as PNG."""
        target.write_bytes(base64.b64decode(self.command("Page.captureScreenshot", format="png")["data"]))


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


@contextlib.contextmanager
def jupyter(root: Path) -> Iterator[str]:
    """A JupyterLab for a folder; gives its address, without a slash at the end."""
    argv = (
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"),
        *(f"--port={PORT}", "--ip=127.0.0.1", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={root}"),
    )
    server = f"http://127.0.0.1:{PORT}"
    with program(*argv):
        wait(lambda: urlopen(f"{server}/api?token={TOKEN}", timeout=5).status == 200, "JupyterLab")
        yield server


@contextlib.contextmanager
def opened(address: str, profile: Path, *flags: str) -> Iterator[Page]:
    """A page of that server in a browser whose own files go to ``profile``."""
    browser = next(filter(None, map(shutil.which, CHROMIUM)))
    with program(browser, *FLAGS, *flags, f"--user-data-dir={profile}", f"{address}?token={TOKEN}") as process:

        def look() -> str:
            assert process.poll() is None, "the browser has ended"
            return (profile / "DevToolsActivePort").read_text().split("\n")[0]

        port = wait(look, "the browser")
        pages = json.load(urlopen(f"http://127.0.0.1:{port}/json", timeout=30))
        yield Page(next(one["webSocketDebuggerUrl"] for one in pages if one["type"] == "page"))
