from __future__ import annotations

import unicodedata
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.cleaned.normalise import normalise

FORMS: st.SearchStrategy[Literal["NFC", "NFKC"] | None] = st.sampled_from(["NFC", "NFKC", None])


@pytest.mark.parametrize(
    ("text", "unicode", "whitespace", "expected"),
    [
        ("  a\t b\n\u00a0c ", "NFC", True, "a b c"),
        ("  a\t b ", "NFC", False, "  a\t b "),
        ("cafe\u0301", "NFC", True, "caf\u00e9"),
        ("cafe\u0301", None, True, "cafe\u0301"),
        ("ﬁne １", "NFC", True, "ﬁne １"),
        ("ﬁne １", "NFKC", True, "fine 1"),
        ("Case stays", "NFKC", True, "Case stays"),
    ],
)
def test_normal_forms(text: str, unicode: Literal["NFC", "NFKC"] | None, whitespace: bool, expected: str) -> None:
    assert normalise(text, unicode=unicode, whitespace=whitespace) == expected


@settings(deadline=None, derandomize=True)
@given(st.text(), FORMS, st.booleans())
def test_normalising_twice_changes_nothing(text: str, unicode: Literal["NFC", "NFKC"] | None, whitespace: bool) -> None:
    once = normalise(text, unicode=unicode, whitespace=whitespace)
    assert normalise(once, unicode=unicode, whitespace=whitespace) == once
    if unicode is not None:
        assert unicodedata.is_normalized(unicode, once)
