"""All that touches Great Expectations: loading it, running it, its Data Docs. Only the step's function loads this."""

from __future__ import annotations

import copy
import html
import re
import warnings
from typing import TYPE_CHECKING, Any

with warnings.catch_warnings():
    # great_expectations/datasource/fluent/data_connector/file_path_data_connector.py imports both.
    warnings.filterwarnings("ignore", "module 'sre_(constants|parse)' is deprecated", DeprecationWarning)
    import great_expectations as gx

from great_expectations import expectations as gxe  # noqa: TID253
from great_expectations.compatibility.pydantic import ValidationError  # noqa: TID253
from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult  # noqa: TID253
from great_expectations.data_context.types import base  # noqa: TID253
from great_expectations.expectations import expectation as kinds  # noqa: TID253
from great_expectations.expectations import registry  # noqa: TID253
from great_expectations.render.renderer import ValidationResultsPageRenderer  # noqa: TID253
from great_expectations.render.view import DefaultJinjaPageView  # noqa: TID253
from great_expectations.validator.validation_statistics import calc_validation_statistics  # noqa: TID253

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ValidationError",
    "evaluate",
    "gxe",
    "in_samples",
    "is_about_rows",
    "known_expectations",
    "observed",
    "render_data_docs",
]

WHOLE_LISTS = {"unexpected_list", "unexpected_index_list", "unexpected_index_query"}
"""What a complete result has beside samples: as long as the table, and kept in the quarantine already."""

RESULT_FORMAT = {"result_format": "COMPLETE", "unexpected_index_column_names": ["row_id"]}

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


def known_expectations() -> dict[str, Any]:
    """Every expectation class by its snake-case name."""
    return {
        name: registry.get_expectation_impl(name)
        for name in sorted(registry.list_registered_expectation_implementations())
        if name.startswith("expect_")
    }


def is_about_rows(expectation: Any) -> bool:
    """Whether an expectation judges each row by itself; one with `mostly` below 1 tolerates single rows, so not."""
    by_row = (kinds.ColumnMapExpectation, kinds.ColumnPairMapExpectation, kinds.MulticolumnMapExpectation)
    return isinstance(expectation, by_row) and expectation.mostly == 1


def evaluate(frame: pd.DataFrame, expectations: list[Any]) -> list[Any]:
    """Hold expectations against a table.

    Args:
        frame: any columns, and `row_id`.
        expectations: of Great Expectations.

    Returns:
        Its results, ordered by type and arguments, with every failing row's row_id.
    """
    context = gx.get_context(
        mode="ephemeral",
        project_config=base.DataContextConfig(
            store_backend_defaults=base.InMemoryStoreBackendDefaults(),
            progress_bars=base.ProgressBarsConfig(globally=False),
            analytics_enabled=False,
        ),
    )
    asset = context.data_sources.add_pandas("freshtune").add_dataframe_asset("rows")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    suite = gx.ExpectationSuite("freshtune", expectations=expectations)
    results: list[Any] = batch.validate(suite, result_format=RESULT_FORMAT).results
    return sorted(results, key=lambda result: (result.expectation_config.type, str(result.expectation_config.kwargs)))


def render_data_docs(results: list[Any]) -> str:
    """Render GX's own page for results, as one HTML file that opens from a disk and loads nothing from anywhere.

    Args:
        results: of `evaluate`, in samples.
    """
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


def observed(found: dict[str, Any]) -> Any:
    """What an expectation saw: a number, or words where GX has only counts or lists."""
    if found.get("observed_value") is not None:
        return found["observed_value"]
    if found.get("element_count") is not None:
        return f"{found['unexpected_count']:,} of {found['element_count']:,} rows fail"
    lists = {which: found.get(f"partial_{which}_list") for which in ("unexpected", "missing")}
    return "; ".join(f"{which}: {', '.join(map(repr, values))}" for which, values in lists.items() if values) or None


def in_samples(results: list[Any]) -> list[Any]:
    """Copies of results with GX's samples of failing rows instead of all of them."""
    return [
        _with(result, {name: value for name, value in result.result.items() if name not in WHOLE_LISTS})
        for result in results
    ]


def _for_page(result: Any) -> Any:
    """A copy with observed values escaped, which GX writes into its page as they are."""
    found = result.result
    if found.get("observed_value") is None and "element_count" not in found:
        # expect_column_distinct_values_to_…: GX looks for shares that these results lack, and gives up.
        found = {"observed_value": observed(found)}
    return _with(result, _escaped(found))


def _with(result: Any, found: Any) -> Any:
    changed = copy.copy(result)
    changed.result = found
    return changed


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return html.escape(value)
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(item) for item in value]
    return value
