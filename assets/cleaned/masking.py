"""Personal data in texts, found by the pattern recognisers of Presidio and replaced by the name of their kind.

Presidio is in the optional extra `pii`. It takes seconds to import, and is imported only where it is used. No language
model is loaded and nothing is fetched: these kinds are told by their form and checksums alone.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.cleaned.normalise import Form, normalised
from assets.errors import ConfigurationError
from assets.store.tables import read_tables, write_table

if TYPE_CHECKING:
    from assets.store.step import Build, Measurements

CANDIDATES = {
    # Each is part of whatever the recogniser of its kind can match, so a text without it has none.
    "email": re.compile("@"),
    "phone": re.compile(r"\d.*\d", re.DOTALL),
    "credit_card": re.compile(r"[13456]\S{3}"),
    "iban": re.compile("[A-Z]{2}[0-9]{2}"),
    "ip_address": re.compile(r"[0-9]\.[0-9]|[0-9A-Fa-f:]:[0-9A-Fa-f:]"),
    "url": re.compile("/|[wW]{3}"),
}
"""Kind → what a text must have for its recogniser to be asked."""
KINDS = tuple(CANDIDATES)


class Hit(NamedTuple):
    """Personal data in a text: from `start` to `end`."""

    start: int
    end: int
    kind: str


Find = Callable[[str], list[Hit]]


def mask(build: Build, *, unicode: Form | None, whitespace: bool, kinds: Sequence[str]) -> Measurements:
    """A part of the step `cleaned`: the texts of one shard in their normal form, without personal data.

    They are normalised first, since NFKC makes addresses of what was none (`ａｄａ＠example.org`).

    Content, with a value for every row of the shard, in its order:
        rows.feather: text, label.
        masked.feather: `kinds`, a bit for each of the kinds that were found in the text, the first one the lowest.

    Args:
        build: input `shard`; a text that is null counts as an empty one.
        unicode: Unicode normal form, or None.
        whitespace: whether white space is normalised.
        kinds: of personal data.

    Returns:
        rows.
    """
    rows = read_tables([build.inputs["shard"]], "rows.feather", ["text", "label"])
    texts = normalised(pc.fill_null(rows["text"], "").combine_chunks(), unicode=unicode, whitespace=whitespace)
    find = finder(kinds)
    masked, found = [], np.zeros(len(texts), np.uint16)
    for at, text in enumerate(texts.to_pylist()):
        without, there = mask_text(text, find)
        masked.append(without)
        found[at] = sum(1 << kinds.index(kind) for kind in there)
    write_table(
        build.content / "rows.feather",
        pa.table({"text": pa.array(masked, pa.string()), "label": rows["label"].combine_chunks()}),
        compressed=True,
    )
    write_table(build.content / "masked.feather", pa.table({"kinds": found}), compressed=True)
    return {"rows": len(texts)}


def mask_text(text: str, find: Find) -> tuple[str, set[str]]:
    """Replace personal data by the name of its kind, as in `<EMAIL>`; masking again changes nothing.

    Returns:
        The text without them, and the kinds that it had.
    """
    kinds: set[str] = set()
    # What stands beside an entity may be one when that is gone: until none is found. A name is never part of a hit.
    while hits := _apart(find(text)):
        kinds |= {hit.kind for hit in hits}
        for hit in reversed(hits):
            text = f"{text[: hit.start]}<{hit.kind.upper()}>{text[hit.end :]}"
    return text, kinds


def finder(kinds: Sequence[str]) -> Find:
    """Make what finds personal data of some kinds in a text.

    Raises:
        ConfigurationError: if Presidio is not installed.
    """
    require()
    by_kind = recognisers()

    def find(text: str) -> list[Hit]:
        return [
            Hit(result.start, result.end, kind)
            for kind in kinds
            if CANDIDATES[kind].search(text)
            for result in by_kind[kind].analyze(text, by_kind[kind].supported_entities)
        ]

    return find


def require() -> None:
    """Refuse to mask without the library.

    Raises:
        ConfigurationError: if Presidio is not installed.
    """
    if importlib.util.find_spec("presidio_analyzer") is None:
        raise ConfigurationError(
            "masking personal data needs Presidio, which is not installed here",
            where="cleaning.mask_pii",
            fix="pip install 'freshtune[pii]' (in the project: pip install -e '.[pii]'), or take mask_pii out",
        )


@functools.cache
def recognisers() -> dict[str, Any]:
    """Presidio's recogniser of each kind; to be asked without a language model."""
    from presidio_analyzer import Pattern, PatternRecognizer
    from presidio_analyzer.predefined_recognizers import (
        CreditCardRecognizer,
        EmailRecognizer,
        IbanRecognizer,
        IpRecognizer,
        PhoneRecognizer,
        UrlRecognizer,
    )

    def by(kind: str, patterns: Sequence[Any]) -> Any:
        return PatternRecognizer(supported_entity=kind, patterns=list(patterns))

    # Of a whole address, whatever its host and port, also its query; presidio's own ends before those. A bare name of a
    # host is none, since a full stop without a space after it makes one of any two words.
    addresses = [
        Pattern("scheme", r"\b(?:https?://|www\d{0,3}\.)[^\s<>\"']*[^\s<>\"'.,;:!?)\]]", 0.6),
        Pattern("path", r"\b(?=[a-z0-9.\-]+/)" + UrlRecognizer.BASE_URL_REGEX, 0.5),
    ]
    return {
        # Presidio's own also asks for a public suffix: it fetches the list, and an address within a company has none.
        "email": by("EMAIL_ADDRESS", EmailRecognizer.PATTERNS),
        "phone": PhoneRecognizer(),
        "credit_card": CreditCardRecognizer(),
        "iban": IbanRecognizer(),
        # Two colons alone are an address of nobody.
        "ip_address": IpRecognizer(patterns=[pattern for pattern in IpRecognizer.PATTERNS if pattern.score >= 0.5]),
        "url": by("URL", addresses),
    }


def _apart(hits: Sequence[Hit]) -> list[Hit]:
    """Hits that do not overlap, in their order: those that do become one, of the kind of the longest of them."""
    apart: list[tuple[Hit, int]] = []
    for hit in sorted(hits, key=lambda hit: (hit.start, -hit.end, KINDS.index(hit.kind))):
        length = hit.end - hit.start
        if apart and hit.start < apart[-1][0].end:
            last, longest = apart[-1]
            kind = hit.kind if length > longest else last.kind
            apart[-1] = Hit(last.start, max(last.end, hit.end), kind), max(length, longest)
        else:
            apart.append((hit, length))
    return [hit for hit, _ in apart]
