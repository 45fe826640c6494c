"""Opens nbgrader's formgrader in a real browser: `formgrader_in_browser.py ROOT ASSIGNMENT OUT`.

A program, because it is started in a network of its own, with the server and the browser in it. It writes into OUT what
an instructor reads on formgrader's pages (``seen.json``), and a picture of each.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from chromium import jupyter, opened  # type: ignore[import-not-found]  # PYTHONPATH leads there

# A table that nbgrader's own code says it has filled (in its variable `models`): each row's cells, as they are read.
ROWS = """(() => {
  if (document.readyState !== 'complete' || !window.models || !models.loaded) return null;
  const rows = [...document.querySelectorAll('tbody tr')].map(
    row => [...row.querySelectorAll('td')].map(cell => cell.innerText.trim()));
  return rows.length && rows.every(row => row.length > 2 && row.some(Boolean)) ? rows : null;
})()"""
PAGES = {
    "assignments": "/manage_assignments",
    "submissions": "/manage_submissions/{assignment}",
    "gradebook": "/gradebook/{assignment}/{notebook}",
}


def main(root: Path, assignment: str, notebook: str, out: Path) -> None:
    seen = {}
    os.chdir(root)
    with jupyter(root) as server, opened(f"{server}/formgrader", out / "profile") as page:
        page.wait(ROWS, "formgrader")
        for name, path in PAGES.items():
            page.go(f"{server}/formgrader{path.format(assignment=assignment, notebook=notebook)}")
            seen[name] = page.wait(ROWS, name)
            page.picture(out / f"{name}.png")
    (out / "seen.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    os.environ["no_proxy"] = "127.0.0.1,localhost"
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]))
