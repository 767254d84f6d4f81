from __future__ import annotations

import logging

import pytest

from assets.validated.data_docs import render_data_docs
from assets.validated.engine import gxe
from assets.validated.results import in_samples, observed
from tests.validated.material import bad, frame, results, sampled


def test_data_docs_run_and_load_nothing(caplog: pytest.LogCaptureFixture) -> None:
    whole = [in_samples(result, bad(30)) for result in results()]
    with caplog.at_level(logging.WARNING):
        page = render_data_docs(whole)
    assert caplog.records == []
    assert "values must belong to this set" in page
    assert "bad &lt;img src=&#x27;https://x/y.png&#x27;&gt;&lt;script&gt;" in page
    assert "30 unexpected values found" in page
    for tag in ("<script", "<img", "<link", "<iframe", '<a href="http', '<a href="..'):
        assert tag not in page, tag
    assert "onclick" not in page
    assert "None" not in page
    assert page.count("<style") == 1
    assert "prefers-color-scheme: dark" in page
    assert "default-src 'none'" in page
    assert page.count("</head>") == 1


def test_data_docs_show_failing_sets_of_values(caplog: pytest.LogCaptureFixture) -> None:
    made = sampled(
        frame(label=["ham", "z<b>"]),
        [
            gxe.ExpectColumnDistinctValuesToEqualSet(column="label", value_set=["ham", "spam"]),
            gxe.ExpectColumnDistinctValuesToBeInSet(column="label", value_set=["ham"]),
            gxe.ExpectColumnDistinctValuesToContainSet(column="label", value_set=["eggs"]),
        ],
    )
    assert [observed(result.result) for result in made] == [
        "unexpected: 'z<b>'",
        "missing: 'eggs'",
        "unexpected: 'z<b>'; missing: 'spam'",
    ]
    with caplog.at_level(logging.WARNING):
        page = render_data_docs(made)
    assert caplog.records == []
    assert "z&lt;b&gt;" in page
    assert "<b>" not in page
    assert page.count("unexpected: ") == 2
