from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.errors import ConfigurationError, DataError
from assets.raw.decoding import Text, decode

RUSSIAN = (
    "Сегодня хорошая погода, и мы идём в парк.", "Спасибо за помощь, до свидания!", "Мне очень понравился этот фильм.",
    "Поезд опоздал на сорок минут, и никто ничего не объяснил.", "Где находится ближайшая станция метро?",
    "Книга лежит на столе рядом с чашкой чая.", "Вы выиграли приз, позвоните нам прямо сейчас!",
)  # fmt: skip
FRENCH = (
    "Le café était délicieux, mais le garçon n'était pas très aimable.", "Où êtes-vous allés l'été dernier ?",
    "Nous avons mangé des crêpes à la crème près de la forêt.", "Ça m'a coûté dix euros, c'est trop cher.",
)  # fmt: skip


def table(*texts: str) -> str:
    return "".join(["text,label\n", *(f"{number} {text},x\n" for number, text in enumerate(texts))])


@pytest.mark.parametrize(
    ("data", "encoding", "text", "damaged"),
    [
        ("\ufeffé\n".encode(), "utf-8", "é\n", False),
        ("é\n".encode("cp1252"), "cp1252", "é\n", False),
        ("é\n".encode("utf-16"), "utf-16", "é\n", False),
        (b"caf\xe9\n", "utf-8", "caf\udce9\n", True),
        (b"caf\xe9\x81\n", "cp1252", "café\udc81\n", True),
        (b"a\n\xef\xbb\xbfb\n", "auto", "a\n\ufeffb\n", False),
        *(("é\n".encode(codec), "auto", "é\n", False) for codec in ("utf-8", "utf-8-sig", "utf-16", "utf-32")),
        ("\ufeffé\n".encode("utf-16-be"), "auto", "é\n", False),
        ("\ufeffé\n".encode("utf-32-be"), "auto", "é\n", False),
        (b"a\n" * 9 + b"\xe9\n", "auto", "a\n" * 9 + "\udce9\n", True),
    ],
)
def test_decode(data: bytes, encoding: str, text: str, damaged: bool) -> None:
    decoded = decode("x", data, encoding)
    assert (decoded.whole(), decoded.damaged, decoded.guessed) == (text, damaged, None)
    assert list(decoded.lines()) == text.splitlines(keepends=True)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(text=st.text(st.sampled_from("a\r\n\x0b\x1c\u2028é\U0001f600 "), max_size=30), before=st.sampled_from([0, 8190]))
def test_lines_are_physical_lines(text: str, before: int) -> None:
    whole = "a" * before + text
    assert list(Text(whole.encode()).lines()) == list(io.StringIO(whole, newline=""))


@pytest.mark.parametrize(
    ("data", "encoding", "message"),
    [
        (b"\xef\xbb\xbf \r\n", "utf-8", "the file is empty"),
        ("\u2003\n \xa0".encode(), "auto", "the file is empty"),
        ("text,label\n".encode("utf-16"), "utf-8", "the file is UTF-16, not utf-8\n  fix: set source.encoding: utf-16"),
        ("text,label\n".encode("utf-16-le"), "utf-8", "it seems to be utf-16-le without a byte order mark\n"),
        ("text,label\n".encode("utf-16-be"), "auto", ".* utf-16-be .*\n  fix: set source.encoding: utf-16-be"),
        (b"text,label\na,b\nc,\0\n", "utf-8", "the file is binary, not text: line 3 has a NUL"),
        (b"text,label\na,b\nc,\0\n", "auto", "the file is binary, not text: line 3 has a NUL"),
        (b"text,label\na,b\nc,\0\xff\n", "utf-8", "the file is binary, not text: line 3 has a NUL"),
        (b"abc", "utf-16", "the file is not utf-16: truncated data at byte 2"),
        (b"\xff\xfeabc", "auto", "the file is not utf-16: truncated data at byte 4"),
    ],
)
def test_text_that_cannot_be_decoded(data: bytes, encoding: str, message: str) -> None:
    with pytest.raises(DataError, match=f"^x: .*{message}"):
        decode("x", data, encoding)


@pytest.mark.parametrize("encoding", ["utf-9", "hex"])
def test_no_such_encoding(encoding: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"source\.encoding: '{encoding}' is no text encoding\n  fix: auto"):
        decode("x", b"abc", encoding)


def test_an_encoding_that_the_bytes_surely_are() -> None:
    text = table(*RUSSIAN * 10)
    decoded = decode("x", text.encode("koi8-r"), "auto")
    assert (decoded.guessed, decoded.whole()) == ("koi8_r", text)


@pytest.mark.parametrize(
    ("text", "encoding", "named"),
    [
        (
            table(*FRENCH * 20),
            "cp1252",
            r"'êtes-vous' as cp1252, 'ętes-vous' as cp1250, .*\n  fix: set source\.encoding \(is it cp1252\?\)",
        ),
        (table(*RUSSIAN[:3]), "cp1251", r".* as cp1251.*\n  fix: set source\.encoding \(is it cp1251\?\)"),
    ],
    ids=["near tie", "too little"],
)
def test_an_encoding_that_is_not_sure_is_named_and_not_taken(text: str, encoding: str, named: str) -> None:
    with pytest.raises(DataError, match=f"x: the file is not UTF-8, and what it is instead is not certain: .*{named}"):
        decode("x", text.encode(encoding), "auto")
    assert decode("x", text.encode(encoding), encoding).whole() == text


def test_a_file_in_two_encodings_is_in_neither() -> None:
    whole = table(*RUSSIAN * 10).encode("koi8-r") + table(*FRENCH * 30).encode("cp1252")
    with pytest.raises(DataError, match="what it is instead is not certain"):
        decode("x", whole, "auto")


def test_a_few_lines_are_damage_and_many_are_another_encoding() -> None:
    lines = [b"fine"] * 18
    assert decode("x", b"\n".join([*lines, b"\xe9", b"\xff"]), "auto").damaged
    with pytest.raises(DataError, match="not UTF-8"):
        decode("x", b"\n".join([*lines, b"\xe9", b"\xff", b"\xe9"]), "auto")
