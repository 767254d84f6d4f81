"""The UI as a person sees it, in headless Chromium: the asset graph, a run launched from it, an asset's page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, ViewportSize, expect, sync_playwright

from assets.validated import STEP
from tests.system.pages import CHROMIUM, FLAGS, NEEDS_CHROMIUM
from tests.system.served import Project, Server, served

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(900),
    NEEDS_CHROMIUM,
]

STEPS = ("raw", "validated", "cleaned", "splits", "model", "evaluation", "release")
WIDE = ViewportSize(width=2400, height=1000)
"""Pixels; the graph shows checks and states only where it has the room."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(Project(tmp_path_factory.mktemp("project"), sensor=None)) as server:
        yield server


@pytest.fixture
def page(server: Server) -> Iterator[Page]:
    """A page of the UI; an error in its console fails the test."""
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(base_url=server.url, viewport=WIDE)
        page.set_default_timeout(60_000)
        # Dagster greets a browser that it has not seen with a dialog about its community.
        page.add_init_script("localStorage.setItem('communityNux', '1')")
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
        browser.close()
    assert errors == []


def test_graph_is_materialised_and_looked_at(server: Server, page: Page) -> None:
    expect.set_options(timeout=60_000)
    graph = "/locations/freshtune/asset-groups/tiny/lineage"
    page.goto(graph)
    nodes = page.locator("foreignObject")
    for step in ("source", *STEPS):
        expect(nodes.filter(has_text=step).first).to_be_visible()
    page.get_by_role("button", name="Materialize all").click()
    [run] = server.wait()
    assert run["status"] == "SUCCESS", server.failures(run["runId"])

    # The marks come with an answer of their own, after the states.
    page.goto(graph, wait_until="networkidle")
    expect(page.get_by_text("Materialized", exact=True)).to_have_count(len(STEPS))
    passed = f"{len(STEP.checks)} / {len(STEP.checks)} Passed"
    expect(nodes.filter(has_text=STEP.name).get_by_text(passed)).to_be_visible()
    expect(page.get_by_text("Unsynced")).to_have_count(0)

    page.goto("/assets/tiny/model")
    rows = page.get_by_role("row")
    expect(rows.filter(has_text="action").get_by_text("built", exact=True)).to_be_visible()
    rows.filter(has_text="curve_plot").get_by_text("[Show Markdown]").click()
    picture = page.get_by_role("img", name="curve")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 100

    # The decision and where the report is come before what is only kept for the record.
    page.goto("/assets/tiny/release")
    shown = rows.filter(has_text="report.html").get_by_text("report.html")
    expect(shown).to_be_visible()
    path = Path(shown.inner_text())
    assert "<h2>Why</h2>" in path.read_text(encoding="utf-8")
    names = [row.inner_text().split()[0] for row in rows.all() if row.inner_text().strip()]
    assert names.index("report") < names.index("decision") < names.index("account") < names.index("key")
