"""The report's page: complete, self-contained, and deaf to what a submission prints."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from report_samples import hostile, load, realistic

from autograder.report import Evidence, Finding, Report, Verdict
from autograder.report.html import render_html
from autograder.report.model import LoadPoint
from autograder.report.plot import plot, shape


class Page(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render_html(realistic()))


@pytest.fixture(scope="module")
def hostile_page() -> Page:
    return Page(render_html(hostile()))


def test_the_page_says_the_score_and_every_verdict(page: Page) -> None:
    text = " ".join(page.text.split())
    assert "44 of 100 points" in text
    for said in ("6 passed", "3 failed", "2 blocked", "1 not run", "1 error"):
        assert said in text


def test_what_to_do_next_comes_before_the_table(page: Page) -> None:
    assert page.text.index("Next step:") < page.text.index("Checks by skill")


def test_an_error_is_said_above_everything_else(page: Page) -> None:
    assert page.text.index("this is not a final score") < page.text.index("Next step:")


def test_findings_are_open_and_evidence_is_folded(page: Page) -> None:
    source = render_html(realistic())
    folded = "".join(re.findall(r"<details>.*?</details>", source, re.DOTALL))
    assert "timeout=(connect, read)" not in folded
    assert "POST /v1/models/digits:predict" in folded


@pytest.mark.parametrize("report", [realistic(), hostile()], ids=["realistic", "hostile"])
def test_the_page_asks_for_nothing_and_runs_nothing(report: Report) -> None:
    page = Page(render_html(report))
    assert not {"script", "img", "link", "iframe", "object", "embed", "base", "form"}.intersection(page.tags)
    names = {name for name, _ in page.attributes}
    assert not {name for name in names if name.startswith("on") or name in ("src", "srcset", "action")}
    assert all(value and value.startswith("#") for name, value in page.attributes if name == "href")
    assert "url(" not in render_html(report).split("</style>")[0]


def test_the_page_forbids_scripts_and_requests(page: Page) -> None:
    assert any(value and value.startswith("default-src 'none'") for name, value in page.attributes)


def test_hostile_text_is_shown_as_text(hostile_page: Page) -> None:
    assert "<script>alert(1)</script>" in hostile_page.text
    assert "{{ 7 * 7 }}" in hostile_page.text


def test_control_characters_are_written_out(hostile_page: Page) -> None:
    assert "NUL:\\x00" in hostile_page.text
    assert "\\u202ekcab" in hostile_page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ufffe]", hostile_page.text)


def test_a_page_of_the_longest_evidence_stays_small() -> None:
    assert len(render_html(hostile())) < 250_000


def test_a_load_is_plotted_with_one_mark_for_each_version_and_one_for_failures() -> None:
    drawn = plot(load())
    assert drawn is not None
    assert [(series.label, series.failed) for series in drawn.series] == [
        ("version 1", False),
        ("version 2", False),
        ("failed", True),
    ]
    assert sum(series.count for series in drawn.series) == 300
    assert len({series.mark for series in drawn.series}) == 3


def test_the_marks_differ_in_form() -> None:
    assert len({shape(mark, 0, 0) for mark in range(6)}) == 6


def test_a_long_load_is_thinned_but_keeps_its_slowest_answer() -> None:
    points = [LoadPoint(at=n / 1000, seconds=0.005, answer="1") for n in range(50_000)]
    points[31_337] = LoadPoint(at=31.337, seconds=0.05, answer="1")
    drawn = plot(points)
    assert drawn is not None
    assert drawn.shown <= 1_200
    assert drawn.series[0].slowest == "50 ms"
    highest = min(float(y) for y in re.findall(r"M[\d.]+ ([\d.]+)", drawn.series[0].path))
    assert highest < 50  # in the upper part of the plot, where 50 ms is


def test_one_stall_does_not_flatten_the_rest() -> None:
    drawn = plot([*load(), LoadPoint(at=6.1, seconds=9.0, answer="timeout", failed=True)])
    assert drawn is not None
    assert drawn.logarithmic


def test_every_point_is_drawn_inside_the_plot() -> None:
    for points in (load(), [*load(), LoadPoint(at=7, seconds=30.0, answer="slow", failed=True)]):
        drawn = plot(points)
        assert drawn is not None
        for series in drawn.series:
            for x, y in re.findall(r"M([-\d.]+) ([-\d.]+)", series.path):
                assert 50 <= float(x) <= 590
                assert 20 <= float(y) <= 217


@pytest.mark.parametrize(
    "points",
    [
        (LoadPoint(at=0, seconds=0, answer="1"),),
        (LoadPoint(at=5, seconds=1e-9, answer="1"), LoadPoint(at=5, seconds=3, answer="2")),
        tuple(LoadPoint(at=n, seconds=0.01, answer=f"v{n}") for n in range(40)),
        (LoadPoint(at=0, seconds=0, answer="x", failed=True), LoadPoint(at=0, seconds=1, answer="1")),
    ],
    ids=["one instant answer", "one moment", "forty versions", "an instant failure"],
)
def test_odd_loads_are_plotted(points: tuple[LoadPoint, ...]) -> None:
    drawn = plot(points)
    assert drawn is not None
    assert drawn.x_ticks
    assert drawn.y_ticks


def test_times_that_are_no_times_make_no_plot() -> None:
    assert plot([LoadPoint(at=float("nan"), seconds=float("inf"), answer="1")]) is None


def test_a_load_that_can_t_be_plotted_is_still_summed_up() -> None:
    broken = Evidence(title="a load", kind="load", load=(LoadPoint(at=float("nan"), seconds=1, answer="1"),))
    first = realistic().results[0].model_copy(update={"evidence": (broken,)})
    source = render_html(realistic().model_copy(update={"results": (first,)}))
    assert "1 requests: 1 answered by version 1, 0 failed." in source


def test_a_full_score_says_so_and_has_no_next_step() -> None:
    results = tuple(r.model_copy(update={"verdict": Verdict.PASSED}) for r in realistic().results)
    text = Page(render_html(realistic().model_copy(update={"results": results}))).text
    assert "Every check passed." in text
    assert "Next step:" not in text


def test_the_time_is_written_for_people(page: Page) -> None:
    assert "2026-11-22 09:14 UTC" in page.text


def test_code_in_a_finding_is_set_as_code_and_still_escaped() -> None:
    said = Finding(saw="`<b>` is `timeout=1`")
    first = realistic().results[5].model_copy(update={"finding": said})
    source = render_html(realistic().model_copy(update={"results": (first,)}))
    assert "<code>&lt;b&gt;</code> is <code>timeout=1</code>" in source


def test_a_passed_check_folds_all_its_evidence_in_one() -> None:
    evidence = (Evidence(title="First", text="1"), Evidence(title="Second", text="2"))
    first = realistic().results[0].model_copy(update={"evidence": evidence})
    source = render_html(realistic().model_copy(update={"results": (first,)}))
    assert source.count("<summary>") == 2  # this one, and how it was graded
    assert "<h3>Second</h3>" in source
