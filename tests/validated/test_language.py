"""What texts are written in."""

from __future__ import annotations

import re
from collections import Counter

import pyarrow as pa
import pytest
from fontTools.unicodedata import script, script_name
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.errors import ConfigurationError
from assets.validated.language import LEAST_LETTERS, accepted_values, check, languages_of, libraries, scripts_of
from assets.validated.suite import MOJIBAKE

SENTENCES = {
    "en": "The train to the coast leaves at ten in the morning – don’t be late, it’s a “café car” only.",
    "de": "Der Zug an die Küste fährt um zehn Uhr morgens – „schön“, aber bitte nicht zu spät kommen.",
    "fr": "Le train pour la côte part à dix heures du matin, « s’il vous plaît », ne soyez pas en retard.",
    "pl": "Pociąg na wybrzeże odjeżdża o dziesiątej rano, proszę się nie spóźnić, będzie tłok.",
    "ru": "Поезд на побережье отправляется в десять часов утра, пожалуйста, не опаздывайте.",
    "el": "Το τρένο για την ακτή φεύγει στις δέκα το πρωί, παρακαλώ μην αργήσετε καθόλου.",
    "zh": "开往海边的火车上午十点出发，请不要迟到，车上只有一节餐车，里面有咖啡和热茶，还有一些小点心。",
}


def column(*texts: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(texts, pa.string())])


def test_the_script_is_that_of_most_letters() -> None:
    texts = ["hello", "Привет, Tom", "Ω is ohm", "12 €!", "", None, "日本語", "😀 ok"]
    expected = ["Latin", "Cyrillic", "Latin", None, None, None, "Han", "Latin"]
    assert scripts_of(column(*texts)).to_pylist() == expected


@settings(deadline=None, derandomize=True)
@given(st.lists(st.text(max_size=12), max_size=6))
def test_scripts_are_those_of_the_characters(texts: list[str]) -> None:
    for text, found in zip(texts, scripts_of(column(*texts)).to_pylist(), strict=True):
        names = [script_name(script(character)) for character in text]
        counts = Counter(name for name in names if name not in {"Common", "Inherited", "Unknown"})
        most = max(counts.values(), default=0)
        assert found == min((name for name, count in counts.items() if count == most), default=None)


def test_languages_are_told_of_texts_that_are_long_enough() -> None:
    assert dict(zip(SENTENCES, languages_of(column(*SENTENCES.values())).to_pylist(), strict=True)) == {
        language: language for language in SENTENCES
    }
    letters = "die Bahn kommt bald und wartet nicht".replace(" ", "")
    assert len(letters) == LEAST_LETTERS
    assert languages_of(column(letters[:-1], None, "", "1" * 50)).to_pylist() == [None] * 4
    assert languages_of(column("Die Bahn kommt bald und wartet nicht")).to_pylist() == ["de"]


def test_what_is_accepted_by_column() -> None:
    assert accepted_values(None) == {}
    assert accepted_values(["Latin", "en", "Han"]) == {"text_script": ["Han", "Latin"], "text_language": ["en"]}
    assert libraries(accepted_values(["Latin"])) == ("fonttools:minor",)
    assert libraries(accepted_values(["en"])) == ("py3langid:minor",)


def test_a_language_that_cannot_be_told_is_refused() -> None:
    check(None)
    check(["Latin", "en", "de"])
    with pytest.raises(
        ConfigurationError, match=r"validation.language: 'qq', 'zxx' cannot be told; .* de, .*\n  fix: "
    ):
        check(["en", "qq", "zxx"])


@pytest.mark.parametrize("text", [*SENTENCES.values(), "IRMÃ, MÃE", "Łódź", "Ärger", "“À”", "naïve – Å…", "Ünlü"])
def test_sound_texts_have_no_traces_of_a_wrong_encoding(text: str) -> None:
    assert re.search(MOJIBAKE, text) is None


@pytest.mark.parametrize("text", [*list(SENTENCES.values()), "é", "ł", "£5", "it’s", "😀", "не"])
def test_texts_read_in_a_wrong_encoding_have_them(text: str) -> None:
    broken = text.encode().decode("cp1252", errors="replace")
    assert re.search(MOJIBAKE, broken) is not None
