from __future__ import annotations

import unicodedata
from typing import Literal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.cleaned.normalise import normalise, normalised

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


# White space of every kind where it counts: at the ends, twice, before a mark, beside what another form takes apart.
PIECES = st.one_of(
    st.sampled_from([chr(code) for code in range(0x3001) if chr(code).isspace()]),
    st.sampled_from(["a", "b ", " ", "\u0301", "\u00a8", "\ufb01", "\x00", "\x7f", "~", "!", "\u200b", "\ufeff"]),
    st.characters(exclude_categories=["Cs"]),
)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.lists(st.lists(PIECES, max_size=6).map("".join)), FORMS, st.booleans())
def test_many_texts_are_normalised_as_one_by_one(
    texts: list[str], unicode: Literal["NFC", "NFKC"] | None, whitespace: bool
) -> None:
    found = normalised(pa.array(texts, pa.string()), unicode=unicode, whitespace=whitespace)
    assert found.to_pylist() == [normalise(text, unicode=unicode, whitespace=whitespace) for text in texts]


@pytest.mark.parametrize("unicode", ["NFC", "NFKC", None])
def test_every_character_is_treated_as_python_does(unicode: Literal["NFC", "NFKC"] | None) -> None:
    # Nothing beyond has a form of its own.
    characters = [chr(code) for code in range(0x30000) if not 0xD800 <= code <= 0xDFFF]
    texts = [f"a{one}b {one}" for one in characters]
    found = normalised(pa.array(texts), unicode=unicode, whitespace=True).to_pylist()
    assert found == [normalise(text, unicode=unicode, whitespace=True) for text in texts]
