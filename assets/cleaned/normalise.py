"""The normal form of a text."""

from __future__ import annotations

import unicodedata
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

Form = Literal["NFC", "NFKC"]

_PLAIN = r"\A[!-~‘’“”–—]+(?: [!-~‘’“”–—]+)*\z"
"""Printable ASCII, quotes and dashes with single spaces between words: no setting changes anything in it."""


def normalise(text: str, *, unicode: Form | None, whitespace: bool) -> str:
    """Bring a text into its normal form; normalising again changes nothing.

    Args:
        text: any text.
        unicode: Unicode normal form, or None to leave code points as they are.
        whitespace: whether runs of white space become one space and both ends are trimmed.
    """
    if unicode is not None:
        text = unicodedata.normalize(unicode, text)
    # After the normal form, because NFKC turns some characters (U+00A8 for one) into a space and a mark.
    return " ".join(text.split()) if whitespace else text


def normalised(texts: pa.Array, *, unicode: Form | None, whitespace: bool) -> pa.Array:
    """Bring many texts into their normal form.

    Only those that are not plain are looked at one by one: `pyarrow.compute.utf8_normalize` gives other results than
    Python.

    Args:
        texts: strings without null.
        unicode: as in `normalise`.
        whitespace: as in `normalise`.
    """
    other = pc.invert(pc.match_substring_regex(texts, _PLAIN))
    changed = [normalise(text, unicode=unicode, whitespace=whitespace) for text in texts.filter(other).to_pylist()]
    return pc.replace_with_mask(texts, other, pa.array(changed, pa.string()))
