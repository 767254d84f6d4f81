"""The page of a search as a person sees it, in headless Chromium without a network: charts, tips, sorting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.search.trainer import Trainer, run
from tests.system.pages import NEEDS_CHROMIUM, opened

pytestmark = [
    pytest.mark.system,
    NEEDS_CHROMIUM,
]


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Page]:
    """The open page."""
    run(tmp_path, Trainer(), trials=20, pruner=None)
    path = tmp_path / "trace" / "report.html"
    with opened(path, request.param) as page:
        yield page


def test_the_page_is_looked_at(page: Page) -> None:
    charts = page.locator("figure > svg").all()
    assert len(charts) == 3
    for chart in charts:
        size = chart.bounding_box()
        assert size is not None
        assert min(size["width"], size["height"]) > 100
    charts[0].locator(".mark-symbol path[aria-label^='trial 1,']").first.hover()
    expect(page.locator("#tip")).to_contain_text("trial 1, trained: 0.5876; batch_size 16, learning_rate 0.001")
    page.locator("table.sortable thead button").nth(2).click()
    scores = [float(text) for text in page.locator("table.sortable tbody tr td:nth-child(3)").all_inner_texts()]
    assert scores == sorted(scores)
    best = page.locator("table.sortable tbody tr.chosen")
    assert best.locator("td").nth(1).inner_text() == f"{min(scores):.4f}"
