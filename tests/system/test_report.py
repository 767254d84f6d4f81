"""The report as a person sees it, in headless Chromium without a network: charts, tips, search, sorting, print."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.release.conftest import MakeRelease, release
from tests.release.material import entry
from tests.release.test_report import full
from tests.system.pages import NEEDS_CHROMIUM, opened

__all__ = ["release"]

pytestmark = [
    pytest.mark.system,
    NEEDS_CHROMIUM,
]

TRUE = ["ham"] * 40 + ["spam"] * 30
NEW = ["spam"] * 25 + TRUE[25:-4] + ["ham"] * 4


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, release: MakeRelease, tmp_path: Path) -> Iterator[Page]:
    """The open report."""
    texts = [f"text {at}{' prize' if at == 3 else ''}{' long' * 80 * (at == 5)}" for at in range(len(TRUE))]
    log = (entry(0, "old", "old"), entry(1, "old", "old"))
    made = release(TRUE, NEW, champion=TRUE, log=log, beside="", texts=texts, draw=True)
    path = tmp_path / "report.html"
    path.write_text(full(made), encoding="utf-8")
    assert path.stat().st_size < 300_000
    with opened(path, request.param) as page:
        yield page


def test_the_report_is_looked_at(page: Page) -> None:
    assert page.locator("figure > svg").count() == 5
    for chart in page.locator("figure > svg").all():
        size = chart.bounding_box()
        assert size is not None
        assert min(size["width"], size["height"]) > 100
    chart = page.locator("figure > svg").first
    chart.locator(".mark-rect path").first.hover()
    expect(page.locator("#tip")).to_have_text("true ham, answered ham: 15 rows, 37.5% of ham")
    chart.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tip")).to_have_text("true ham, answered spam: 25 rows, 62.5% of ham")
    page.keyboard.press("Escape")
    expect(page.locator("#tip")).to_be_hidden()

    rows = page.locator("#answers tbody tr:visible")
    expect(rows).to_have_count(20)
    page.get_by_role("button", name="Show all").click()
    everything = rows.count()
    assert everything > 28
    page.get_by_label("Search").fill("PRIZE")
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="Clear").click()
    expect(rows).to_have_count(everything)
    page.locator("select[name=champion]").select_option("right")
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="Show rows of ham answered spam").click()
    expect(rows.filter(has_text="was right")).to_have_count(1)
    assert rows.count() >= 25
    confidences = rows.locator("td:nth-child(4)")
    shown = confidences.all_inner_texts()
    page.locator("#answers thead").get_by_role("button", name="Confidence").click()
    assert sorted(shown) != shown
    assert confidences.all_inner_texts() == sorted(shown)

    page.get_by_label("Try another threshold").fill("0.8")
    expect(page.locator("#threshold output")).to_have_text("0.800: precision 0.9000, recall 0.4667, F1 0.9000")


def test_it_fits_a_telephone_and_a_sheet_of_paper(page: Page) -> None:
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    page.emulate_media(media="print")
    expect(page.locator("form.tools").first).to_be_hidden()
    expect(page.locator("nav")).to_be_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    expect(page.locator("#answers summary")).to_be_visible()
