"""A browser that talks to nobody: headless chromium behind a proxy of ours that never answers."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "unit"))  # the sample reports

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--no-first-run",
    "--hide-scrollbars",
)
# What chromium wants for itself, whatever page it shows: the time, updates, an account. It gets none of it.
OWN = re.compile(r"[A-Z]+ (https?://)?[a-z0-9.-]+\.(google|googleapis)\.com[:/]")


class Proxy(socketserver.ThreadingTCPServer):
    """Remembers the first line of each request and closes the connection."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Remember)
        self.requests: list[str] = []


class Remember(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Proxy)
        self.server.requests.append(self.rfile.readline(4096).decode("latin-1").strip())


@dataclass
class Browser:
    """Chromium on the command line; ``requests`` is all that its pages ever asked the network for."""

    program: str
    profile: Path
    proxy: Proxy

    @property
    def requests(self) -> list[str]:
        return [request for request in self.proxy.requests if not OWN.match(request)]

    def dom(self, page: Path, *flags: str) -> str:
        """The page's document, as it is after loading."""
        return self._run("--dump-dom", *flags, page.as_uri())

    def screenshot(self, page: Path, target: Path, width: int, height: int, *flags: str) -> bytes:
        """A picture of the page's top, as PNG."""
        self._run(f"--screenshot={target}", f"--window-size={width},{height}", *flags, page.as_uri())
        return target.read_bytes()

    def _run(self, *arguments: str) -> str:
        host, port = self.proxy.server_address[:2]
        network = (f"--proxy-server=http://{host!s}:{port}", "--proxy-bypass-list=<-loopback>")
        argv = (self.program, *FLAGS, f"--user-data-dir={self.profile}", *network, *arguments)
        with subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
        ) as process:
            try:
                return process.communicate(timeout=60)[0]
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no chromium on this machine (apt-get install chromium)")
    with Proxy() as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield Browser(program, tmp_path / "profile", proxy)
        finally:
            proxy.shutdown()
