"""The report's page in a real browser: it shows what it must, fits a phone, and asks nobody for anything."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from report_samples import hostile, realistic

from autograder.report import Report
from autograder.report.html import render_html

if TYPE_CHECKING:
    from conftest import Browser


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[Report], Path]:
    def store(report: Report) -> Path:
        page = tmp_path / "report.html"
        page.write_text(render_html(report), encoding="utf-8")
        return page

    return store


def test_the_page_shows_score_and_verdicts_and_asks_for_nothing(
    browser: Browser, stored: Callable[[Report], Path]
) -> None:
    text = " ".join(re.sub(r"<[^>]+>", " ", browser.dom(stored(realistic()))).split())
    assert "44 of 100 points" in text
    for said in ("6 passed", "3 failed", "2 blocked", "1 not run", "1 error"):
        assert said in text
    assert browser.requests == []


def test_a_hostile_page_runs_nothing_and_asks_for_nothing(browser: Browser, stored: Callable[[Report], Path]) -> None:
    document = browser.dom(stored(hostile()))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in document
    assert not re.search(r"<(script|img|iframe|object|embed)\b", document)
    assert browser.requests == []


def test_this_browser_would_have_been_caught_asking(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "control.html"
    page.write_text('<img src="http://example.invalid/control.png">', encoding="utf-8")
    browser.dom(page)
    assert browser.requests == ["GET http://example.invalid/control.png HTTP/1.1"]


def test_even_injected_markup_could_not_ask(browser: Browser, stored: Callable[[Report], Path]) -> None:
    page = stored(realistic())
    injected = '<img src="http://example.invalid/x.png"><script>document.title = "owned"</script></main>'
    page.write_text(page.read_text("utf-8").replace("</main>", injected), encoding="utf-8")
    document = browser.dom(page)
    assert "example.invalid" in document
    assert "<title>owned" not in document
    assert browser.requests == []


@pytest.mark.parametrize("report", [realistic(), hostile()], ids=["realistic", "hostile"])
def test_the_page_fits_a_phone(
    browser: Browser, stored: Callable[[Report], Path], tmp_path: Path, report: Report
) -> None:
    stored(report)
    frame = tmp_path / "frame.html"
    measure = "document.title = 'width ' + this.contentDocument.documentElement.scrollWidth"
    frame.write_text(
        f'<iframe src="report.html" style="width:360px;height:640px;border:0" onload="{measure}">',
        encoding="utf-8",
    )
    document = browser.dom(frame, "--allow-file-access-from-files", "--virtual-time-budget=5000")
    assert "<title>width 360</title>" in document


@pytest.mark.parametrize("scheme", [0, 1], ids=["dark", "light"])
def test_the_page_can_be_pictured(
    browser: Browser, stored: Callable[[Report], Path], tmp_path: Path, scheme: int
) -> None:
    flag = f"--blink-settings=preferredColorScheme={scheme}"
    picture = browser.screenshot(stored(realistic()), tmp_path / "page.png", 900, 1200, flag)
    assert picture.startswith(b"\x89PNG")
    assert (int.from_bytes(picture[16:20]), int.from_bytes(picture[20:24])) == (900, 1200)
    assert len(picture) > 20_000  # an empty page is a tenth of that
