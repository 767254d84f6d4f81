"""Values of a database as text."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from assets.raw.values import as_json, as_text, restored, stored


def test_values_are_written_in_one_form() -> None:
    east = timezone(timedelta(hours=2))
    values = {
        "text": "text", None: None, True: "true", 7: "7", 2.0: "2", 0.25: "0.25", Decimal("1.50"): "1.5",
        Decimal("1E+3"): "1000", Decimal(100): "100", Decimal("-0.0"): "0", Decimal("0.1000"): "0.1",
        Decimal("12345678901234567890123456789012.5"): "12345678901234567890123456789012.5",
        date(2026, 1, 2): "2026-01-02", datetime(2026, 1, 2, 3, 4): "2026-01-02T03:04:00",  # noqa: DTZ001
        datetime(2026, 1, 2, 3, 4, tzinfo=east): "2026-01-02T01:04:00+00:00",
        uuid.UUID(int=1): "00000000-0000-0000-0000-000000000001",
    }  # fmt: skip
    for value, written in values.items():
        assert as_json(value) == written
    assert as_json(Decimal("NaN")) == "NaN"
    assert as_json(memoryview(b"\0\xff")) == {"bytes": 2, "begin": "00ff"}
    assert as_json([{"a": date(2026, 1, 2)}]) == [{"a": "2026-01-02"}]


@given(
    st.one_of(
        st.text(), st.integers(), st.floats(allow_nan=False), st.decimals(allow_nan=False), st.dates(), st.datetimes(),
        st.datetimes(timezones=st.just(UTC)),
    )
)  # fmt: skip
def test_a_watermark_comes_back_as_it_was(mark: Any) -> None:
    written = json.loads(json.dumps(stored(mark)))
    assert restored(written) == mark
    assert type(restored(written)) is type(mark)


def test_keys_of_bytes_are_told_apart_and_null_is_none() -> None:
    assert as_text(b"\0\xff") == "00ff"
    assert as_text(None) is None
    assert len({as_text(value) for value in (b"\0" * 40, b"\0" * 39 + b"\1", 7, "x", 2.5)}) == 5


def test_no_look_begins_at_what_cannot_be_written_down() -> None:
    assert [stored(value) for value in (None, True, b"1", uuid.UUID(int=1))] == [None] * 4
