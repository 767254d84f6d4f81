from __future__ import annotations

from hypothesis import given, settings

from assets.validated.engine import judge_rows
from assets.validated.results import counted, in_samples
from tests.validated.material import RECORDS, bad, by_themselves, made_of, results, sampled


def test_samples_leave_the_results_as_they_are() -> None:
    whole = results()[0]
    short = in_samples(whole, bad(30))
    assert len(whole.result["unexpected_index_list"]) == 30
    assert set(whole.result) - set(short.result) == {"unexpected_list", "unexpected_index_list"}
    assert len(short.result["partial_unexpected_list"]) == 20
    assert short.result["unexpected_index_column_names"] == ["row_id"]
    assert [entry["row_id"] for entry in short.result["partial_unexpected_index_list"]] == [
        f"id{row}" for row in range(20)
    ]


@settings(deadline=None, derandomize=True, max_examples=8)
@given(records=RECORDS)
def test_counts_put_into_the_result_over_failing_rows_give_that_over_all(
    records: list[tuple[str | None, ...]],
) -> None:
    expectations, table = by_themselves(), made_of(records)
    verdicts = judge_rows(table, expectations)
    failing = sorted({place for verdict in verdicts for place in verdict.failed.tolist()})
    few = sampled(table.loc[failing].reset_index(drop=True), expectations)
    for result, verdict, whole in zip(few, verdicts, sampled(table, expectations), strict=True):
        passed_over, failed = len(verdict.passed_over), len(verdict.failed)
        told = counted(result, rows=len(table), passed_over=passed_over, failed=failed)
        assert told.to_json_dict() == whole.to_json_dict()
