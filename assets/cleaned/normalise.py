"""The normal form of a text."""

from __future__ import annotations

import unicodedata
from typing import Literal


def normalise(text: str, *, unicode: Literal["NFC", "NFKC"] | None, whitespace: bool) -> str:
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
