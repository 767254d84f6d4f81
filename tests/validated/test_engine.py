from __future__ import annotations

import logging
import socket
import sys
from typing import Any

import pytest

from assets.validated.engine import evaluate, gxe, in_samples, known_expectations, observed, render_data_docs


def frame(**columns: list[Any]) -> Any:
    import pandas as pd

    rows = len(next(iter(columns.values())))
    return pd.DataFrame({"row_id": [f"id{row}" for row in range(rows)], **columns}, dtype=object)


def results() -> list[Any]:
    texts: list[Any] = [f"bad <img src='https://x/y.png'><script>alert({number})</script>" for number in range(30)]
    return evaluate(
        frame(text=[*texts, "good"]),
        [gxe.ExpectColumnValuesToBeInSet(column="text", value_set=["good"]), gxe.ExpectTableRowCountToEqual(value=31)],
    )


def test_results_name_every_failing_row() -> None:
    first, second = results()
    assert (first.expectation_config.type, first.success) == ("expect_column_values_to_be_in_set", False)
    assert (second.expectation_config.type, second.success) == ("expect_table_row_count_to_equal", True)
    assert {entry["row_id"] for entry in first.result["unexpected_index_list"]} == {f"id{row}" for row in range(30)}


def test_samples_leave_the_results_as_they_are() -> None:
    whole = results()
    short = in_samples(whole)
    assert "unexpected_index_list" in whole[0].result
    assert set(whole[0].result) - set(short[0].result) == {
        "unexpected_list",
        "unexpected_index_list",
        "unexpected_index_query",
    }
    assert len(short[0].result["partial_unexpected_list"]) == 20


def test_data_docs_run_and_load_nothing(caplog: pytest.LogCaptureFixture) -> None:
    whole = in_samples(results())
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
    made = evaluate(
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
        page = render_data_docs(in_samples(made))
    assert caplog.records == []
    assert "z&lt;b&gt;" in page
    assert "<b>" not in page
    assert page.count("unexpected: ") == 2


def test_no_network_is_tried_and_no_bar_is_drawn(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError(f"network: {arguments}")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    render_data_docs(results())
    assert "posthog" not in sys.modules
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_an_empty_table_can_be_judged() -> None:
    import pandas as pd

    empty = pd.DataFrame({"row_id": [], "text": []}, dtype=object)
    rows, count = evaluate(
        empty, [gxe.ExpectColumnValuesToNotBeNull(column="text"), gxe.ExpectTableRowCountToBeBetween(min_value=1)]
    )
    assert (rows.success, count.success) == (True, False)
    assert "Data" in render_data_docs(in_samples([rows, count]))


def test_known_expectations_have_their_own_names() -> None:
    known = known_expectations()
    assert known["expect_column_values_to_be_in_set"] is gxe.ExpectColumnValuesToBeInSet
    assert len(known) > 40
