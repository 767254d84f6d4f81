"""What is forgotten: keyed hashes, requests, and what a plan sees of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.cleaned.normalise import normalise
from assets.errors import ConfigurationError, StoreError
from assets.store import forgotten
from assets.store.step import LogEntry
from assets.store.store import Store

KEY, OTHER = bytes(32), bytes(range(32))


@given(st.text(), st.sampled_from(["NFC", "NFKC", None]), st.booleans())
def test_no_setting_of_cleaning_changes_a_hash(text: str, unicode: str | None, whitespace: bool) -> None:
    cleaned = normalise(text, unicode=unicode, whitespace=whitespace)  # type: ignore[arg-type]
    assert forgotten.hash_of(cleaned, KEY) == forgotten.hash_of(text, KEY)


def test_a_hash_needs_its_key() -> None:
    assert forgotten.hash_of("a text", KEY) != forgotten.hash_of("a text", OTHER)
    assert forgotten.hash_of(" a\n\u00a0text", KEY) == forgotten.hash_of("a text", KEY)
    assert forgotten.matching(["a  text", None, "another"], KEY, frozenset({forgotten.hash_of("a text", KEY)})) == [
        True,
        False,
        False,
    ]


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    key = forgotten.make_key(tmp_path)
    assert forgotten.make_key(tmp_path) == key
    assert forgotten.key_called(tmp_path, forgotten.called(key)) == key
    assert (tmp_path / forgotten.KEY).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [forgotten.KEY]


def test_what_is_forgotten_is_an_input_and_nothing_is_without_any(store: Store, tmp_path: Path) -> None:
    assert forgotten.observe(store, tmp_path) == {}
    called = forgotten.called(forgotten.make_key(tmp_path))
    fields = {"hashes": ["b", "a"], "key": called, "pipeline": "tiny", "by": "x", "when": "now", "why": "asked"}
    request = forgotten.add(store, fields)
    with pytest.raises(ConfigurationError, match="request 00000000 of now to forget rows is unfinished"):
        forgotten.observe(store, tmp_path)
    forgotten.finish(store, request, {"request": "00000000"})
    seen = forgotten.observe(store, tmp_path)["forgotten"]
    assert seen.values == (called, "a", "b")
    forgotten.finish(store, forgotten.add(store, {**fields, "hashes": ["b"]}), {})
    assert forgotten.observe(store, tmp_path)["forgotten"].digest == seen.digest
    forgotten.finish(store, forgotten.add(store, {**fields, "hashes": ["c"]}), {})
    assert forgotten.observe(store, tmp_path)["forgotten"].digest != seen.digest


def test_of_two_requests_at_once_one_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(store.storage), "create", lambda *_: False)
    with pytest.raises(StoreError, match="another request to forget rows was written at this very moment"):
        forgotten.add(store, {})


def test_the_log_names_what_stands_for_what_was_replaced(store: Store) -> None:
    inputs = {"splits": "s1", "model": "m1"}
    decided = {"kind": "decision", "inputs": inputs, "release": {"content": "r1", "trace": "t1"}}
    for number, fields in enumerate(
        [
            decided,
            {"kind": "forgotten", "inputs": {}, "replaced": {"s1": "s2", "t1": "t2"}},
            {"kind": "forgotten", "inputs": {}, "replaced": {"s2": "s3"}},
        ]
    ):
        assert store.append("default", "tiny", LogEntry(number, fields))
    first = store.log("default", "tiny")[0].fields
    assert first["inputs"] == {"splits": "s3", "model": "m1"}
    assert first["release"] == {"content": "r1", "trace": "t2"}
