"""What the step `validated` tells about its expectations: Great Expectations' own page, and the results as JSON."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from assets.store.digests import write_json
from assets.validated.engine import gx
from assets.validated.results import observed, with_found

STYLE = """
:root { color-scheme: light dark; --page: #fff; --ink: #1b2026; --line: #d5dbe1; --panel: #eef1f4; --link: #1f5fa8;
  --good: #14692e; --bad: #a31322; --warned: #8a4b00 }
@media screen and (prefers-color-scheme: dark) { :root { --page: #11151a; --ink: #e6eaef; --line: #333c46;
  --panel: #262e37; --link: #74b1f5; --good: #63cf7e; --bad: #ff8d88; --warned: #eda45c } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 0 auto;
  padding: 1rem 2rem; max-width: 75rem }
a { color: var(--link) } ul { padding-left: 1.2rem }
h4 { font-size: 1.5rem; margin: 0 } h5 { font-size: 1.15rem; margin: 1.2rem 0 .2rem } h6 { font-size: 1rem; margin: 0 }
table { border-collapse: collapse; margin: .3rem 0 } .alert { border-bottom: 2px solid var(--line) }
.ge-section { margin-bottom: 2rem } .show-scrollbars { overflow: auto }
td, th { border-bottom: 1px solid var(--line); padding: .3rem .8rem; text-align: left; vertical-align: top }
.h6 { font-weight: 600 } .badge { background: var(--panel); border-radius: 4px; padding: 0 .3rem }
.fa-check-circle::before { content: "✔"; color: var(--good) } .fa-times::before { content: "✘"; color: var(--bad) }
.fa-exclamation-triangle::before { content: "⚠"; color: var(--warned) }
.navbar-expand-md, .card.mb-3, .cooltip .top, #section-1-content-block-3 { display: none }
@media print { tr { break-inside: avoid } h5 { break-after: avoid } }
"""
"""For the class names of GX's pages, whose style sheets and fonts are on the network; what needs scripts is hidden."""

# A page is data, never a program: nothing in a message can run or load anything, even if it got through as markup.
HEAD = f"""<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>{STYLE}</style>
</head>"""

OUTSIDE = re.compile(
    r"<(script|style|footer)\b.*?</\1>|<(?:link|img)\b[^>]*>"
    r'| onclick="[^"]*"|Data asset: None<br>',
    re.DOTALL,
)
"""Parts of GX's page that run or load something, its styles, which want those of the network, and what says nothing."""


def write_trace(trace: Path, expectations: list[Any], results: list[Any]) -> None:
    """Write `data_docs/index.html`, `suite.json` and `result.json`.

    Args:
        trace: the folder.
        expectations: of Great Expectations.
        results: their results, in samples.
    """
    (trace / "data_docs").mkdir()
    (trace / "data_docs" / "index.html").write_text(render_data_docs(results), encoding="utf-8")
    write_json(trace / "suite.json", [expectation.configuration.to_json_dict() for expectation in expectations])
    write_json(trace / "result.json", [result.to_json_dict() for result in results])


def render_data_docs(results: list[Any]) -> str:
    """Render GX's own page for results, as one HTML file that opens from a disk and loads nothing from anywhere.

    Args:
        results: of `evaluate`, in samples.
    """
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView
    from great_expectations.validator.validation_statistics import calc_validation_statistics

    statistics = calc_validation_statistics(results)
    page = ValidationResultsPageRenderer().render(
        ExpectationSuiteValidationResult(
            success=statistics.success,
            results=[_for_page(result) for result in results],
            suite_name="freshtune",
            statistics={name: value for name, value in statistics._asdict().items() if name != "success"},
            meta={"great_expectations_version": gx.__version__},
        )
    )
    text: str = DefaultJinjaPageView().render(page, show_how_to_buttons=False)
    text = re.sub(r'<a href="\.\./[^>]*>(.*?)</a>', r"\1", OUTSIDE.sub("", text), flags=re.DOTALL)
    return text.replace("</head>", HEAD, 1)


def _for_page(result: Any) -> Any:
    """A copy with observed values escaped, which GX writes into its page as they are."""
    found = result.result
    if found.get("observed_value") is None and "element_count" not in found:
        # expect_column_distinct_values_to_…: GX looks for shares that these results lack, and gives up.
        found = {"observed_value": observed(found)}
    return with_found(result, _escaped(found))


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return html.escape(value)
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(item) for item in value]
    return value
