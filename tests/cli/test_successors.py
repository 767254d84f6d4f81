"""Groups without some of their rows, and words taken out of files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.cli.scrubbing import MARK, Words, scrub, still_in
from assets.cli.successors import regrouped

LONG = "call Ann Example on 555 0199 or at home, and if she is not there then leave a message with whoever answers it"


@given(st.data())
def test_rows_that_stay_are_in_one_group_as_before(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12))
    names = np.array(data.draw(st.lists(st.integers(-1, 4), min_size=count, max_size=count)))
    # The first row of a group names it.
    group = np.array([-1 if name < 0 else int(np.flatnonzero(names == name)[0]) for name in names])
    stays = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    after, left = regrouped(group, stays), names[stays]
    assert len(after) == stays.sum()
    for at, name in enumerate(left):
        if name < 0:
            assert after[at] == -1
        else:
            assert left[after[at]] == name
            assert {int(after[other]) for other in np.flatnonzero(left == name)} == {int(after[at])}


def test_the_beginning_of_a_long_text_goes_too(tmp_path: Path) -> None:
    words = Words((LONG,), ("ab" * 16,))
    page = tmp_path / "page.html"
    page.write_text(f"<td>{LONG[:105]}…</td> <td>{LONG}</td> {LONG[:50]} {'ab' * 16}")
    assert words.holding(page) == [page]
    assert scrub(page, words)
    assert page.read_text() == f"<td>{MARK}…</td> <td>{MARK}</td> {LONG[:50]} {MARK}"


def test_rows_of_tables_and_lists_go_whole(tmp_path: Path) -> None:
    words = Words((LONG, "ham"), ())
    rows = [{"text": LONG, "label": "ham"}, {"text": "ham", "label": "ham"}, {"text": "other", "label": "ham"}]
    table, listed, scores = (tmp_path / name for name in ("a.parquet", "a.json", "b.json"))
    pq.write_table(pa.Table.from_pylist(rows), table)
    listed.write_text(json.dumps({"rows": rows, "labels": ["ham", "spam"], "note": f"see {LONG}"}))
    scores.write_text(json.dumps({"ham": 1.0}))
    assert words.holding(tmp_path) == [listed, table]
    assert scrub(table, words)
    assert scrub(listed, words)
    assert pq.read_table(table).to_pylist() == rows[2:]
    assert json.loads(listed.read_text()) == {"rows": rows[2:], "labels": ["ham", "spam"], "note": f"see {MARK}"}
    assert words.holding(tmp_path) == []


def test_a_longer_text_is_a_row_of_its_own(tmp_path: Path) -> None:
    words, longer = Words(("see you at ten",), ()), Words(("see you at ten then",), ())
    page = tmp_path / "page.html"
    page.write_text("<td>see you at ten then</td>")
    assert not still_in(page, words, longer)
    assert still_in(page, words, Words((), ()))
    page.write_text("<td>see you at ten then</td><td>see you at ten</td>")
    assert still_in(page, words, longer)


@pytest.mark.parametrize("data", [b"\xff\xfecall", b"PK\x03\x04\xff"])
def test_what_is_not_understood_is_left(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    assert not scrub(path, Words((LONG,), ()))
    assert path.read_bytes() == data
