"""Personal data is found by its form, replaced by the name of its kind, and nothing else is touched."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.cleaned import masking
from assets.cleaned.masking import CANDIDATES, KINDS, Hit, finder, mask_text
from assets.cleaned.preflight import check
from assets.errors import ConfigurationError
from tests.cleaned.conftest import Clean

IBAN = "DE89 3704 0044 0532 0130 00"
CARD = "4111 1111 1111 1111"
PROPERTY = settings(deadline=None, derandomize=True, max_examples=200)
PIECES = st.sampled_from(
    [
        *(
            "ada@example.org",
            "ада@пример.рф",
            "+49 30 901820",
            "(202) 456-1111",
            CARD,
            IBAN,
            "10.0.0.1",
            "fe80::1",
            "::",
        ),
        *(
            "https://ex.org/u?q=1",
            "www.ex.org",
            "ex.org/ada",
            "http://",
            "<EMAIL>",
            "<PHONE>",
            "<",
            ">",
            "@",
            "/",
            ".",
            ":",
        ),
        *(
            " ",
            "-",
            "+",
            "(",
            ")",
            "4",
            "11",
            "1111",
            "DE89",
            "a",
            "ſ",
            "Ａ",
            "٣٤",
            "word",
            "end.It",
            "\n",
            "é",
            "😀",
            "x" * 30,
        ),
    ]
)
TEXTS = (
    st.lists(PIECES, max_size=8).map("".join)
    | st.text(alphabet="0123456789 +-.()@:/abcDEwW<>", max_size=40)
    | st.text(max_size=30)
)


@pytest.fixture(scope="module")
def mask() -> Callable[[str], str]:
    find = finder(KINDS)
    return lambda text: mask_text(text, find)[0]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to ada.l+x@mail.example.org.", "write to <EMAIL>."),
        ("an address within a company: ada@mail.corp", "an address within a company: <EMAIL>"),
        ("büro@müller.example, 😀 и ада@пример.рф", "<EMAIL>, 😀 и <EMAIL>"),
        ("call +49 30 901820 or (202) 456-1111", "call <PHONE> or <PHONE>"),
        ("آ +٤٩ ٣٠ ٩٠١٨٢٠", "آ <PHONE>"),
        ("ring 07700 900123 now", "ring <PHONE> now"),
        (f"card {CARD}, or 5500-0000-0000-0004", "card <CREDIT_CARD>, or <CREDIT_CARD>"),
        (f"to {IBAN} in 2 days", "to <IBAN> in 2 days"),
        ("from 192.168.1.20, fe80::1%eth0, ::ffff:10.0.0.1", "from <IP_ADDRESS>, <IP_ADDRESS>, <IP_ADDRESS>"),
        ("to fe80::1 or 2001:db8:0:0:0:0:0:a", "to <IP_ADDRESS> or <IP_ADDRESS>"),
        ("see https://ex.org:80/u/ada?q=1#x, www.ex.org. or ex.org/ada", "see <URL>, <URL>. or <URL>"),
        ("(HTTP://EX.ORG?user=ada)", "(<URL>)"),
    ],
)  # fmt: skip
def test_each_kind(mask: Callable[[str], str], text: str, masked: str) -> None:
    assert mask(text) == masked
    assert mask(masked) == masked


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "nothing here",
        "Good.It was at 12:30:45 on 2026-03-01, for £1,234.50 and/or nothing",
        "ratio 3:4, version 1.2.3, std::move, ::, 4111 1111 1111 1112, DE88 3704 0044 0532 0130 00",
        "@ada said example.org",
        "<EMAIL> <PHONE> <CREDIT_CARD> <IBAN> <IP_ADDRESS> <URL>",
    ],
)
def test_what_is_none_stays(mask: Callable[[str], str], text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("https://ada@ex.org/4111111111111111", "<URL>"),
        ("4111111111111111@ex.org", "<EMAIL>"),
        (f"+1 202 456 1414, {CARD}", "<PHONE>, <CREDIT_CARD>"),
        ("http://10.0.0.1/x", "<URL>"),
        ("ada@10.0.0.1", "<EMAIL>"),
    ],
)
def test_hits_that_overlap_are_one(mask: Callable[[str], str], text: str, masked: str) -> None:
    assert mask(text) == masked


def test_hits_that_overlap_are_of_the_kind_of_the_longest() -> None:
    hits = [Hit(9, 12, "url"), Hit(4, 8, "phone"), Hit(0, 6, "email"), Hit(5, 8, "iban"), Hit(12, 13, "iban")]
    assert masking._apart(hits) == [Hit(0, 8, "email"), Hit(9, 12, "url"), Hit(12, 13, "iban")]
    same = [Hit(0, 4, "iban"), Hit(0, 4, "phone")]
    assert masking._apart(same) == masking._apart(same[::-1]) == [Hit(0, 4, "phone")]


def test_only_the_kinds_that_are_asked_for() -> None:
    find = finder(["iban", "email"])
    assert mask_text(f"ada@ex.org, {CARD}, {IBAN}", find) == (f"<EMAIL>, {CARD}, <IBAN>", {"email", "iban"})


@PROPERTY
@given(TEXTS)
def test_masking_again_changes_nothing(text: str) -> None:
    find = finder(KINDS)
    masked, kinds = mask_text(text, find)
    assert mask_text(masked, find) == (masked, set())
    assert (masked == text) == (not kinds)


@PROPERTY
@given(TEXTS)
def test_a_recogniser_that_is_not_asked_would_find_nothing(text: str) -> None:
    for kind, recogniser in masking.recognisers().items():
        if CANDIDATES[kind].search(text) is None:
            assert recogniser.analyze(text, recogniser.supported_entities) == []


def test_texts_that_are_equal_when_masked_merge(clean_rows: Clean) -> None:
    rows = [
        (1, "write to ada@ex.org", "ham"),
        (2, "write to  bob@ex.org", "ham"),
        (3, None, "ham"),
        (4, "ｃｙｄ＠ex.org or 10.0.0.1", "spam"),
        (5, "no data", "spam"),
        (6, "eve@ex.org wrote", "ham"),
        (7, "mal@ex.org wrote", "spam"),
        (8, "not@accepted.org", "spam"),
    ]
    found = clean_rows([rows[:4], rows[4:]], refused=[8], unicode="NFKC", mask_pii=["ip_address", "email"])
    assert [(row["row_id"], row["text"], row["label"]) for row in found.rows] == [
        (1, "write to <EMAIL>", "ham"),
        (3, "", "ham"),
        (4, "<EMAIL> or <IP_ADDRESS>", "spam"),
        (5, "no data", "spam"),
    ]
    assert found.merged == [{"row_id": 2, "kept": 1}]
    # What people are shown of them is masked too.
    assert [row["text"] for row in found.quarantine] == ["<EMAIL> wrote", "<EMAIL> wrote"]
    assert found.measurements["masked_rows"] == 5
    assert found.measurements["masked"] == {"ip_address": 1, "email": 5}


def test_without_it_nothing_is_masked(clean_rows: Clean) -> None:
    found = clean_rows([[(1, "write to ada@ex.org", "ham")]])
    assert found.rows[0]["text"] == "write to ada@ex.org"
    assert "masked" not in found.measurements


def test_without_the_library_it_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "presidio_analyzer" else find_spec(name)
    )
    others: dict[str, Any] = {"unicode": "NFC", "whitespace": True}
    check(mask_pii=None, **others)
    with pytest.raises(
        ConfigurationError, match=r"needs Presidio, which is not installed.*\n  fix: pip install 'freshtune\[pii\]'"
    ):
        check(mask_pii=["email"], **others)
