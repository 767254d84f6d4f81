"""Rows with one id in the source, of which only the newest counts: a correction that came as another row."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from assets.cleaned.ngrams import Indices

SUPERSEDED = "newest_of_its_id"
"""Stands for an expectation: no newer row has the same id."""


def repeated(ids: pa.ChunkedArray) -> Indices:
    """Rows whose id another row has too; a row without an id (null, or nothing but white space) has none to share."""
    ids = pc.utf8_trim_whitespace(ids)
    ids = pc.if_else(pc.equal(ids, ""), pa.scalar(None, pa.string()), ids).combine_chunks()
    codes = ids.dictionary_encode().indices.fill_null(-1).to_numpy()
    known = np.flatnonzero(codes >= 0)
    return known[np.bincount(codes[known])[codes[known]] > 1] if len(known) else known


def superseded(
    rows: Sequence[int], ids: Sequence[str], times: Sequence[datetime | None], says: Sequence[tuple[int, ...]]
) -> dict[int, str]:
    """Which of some rows do not count, and why.

    Where the newest rows of an id have the same time, or none has one, they count if they say the same, and else none
    of them does: nothing tells which is right.

    Args:
        rows: the rows.
        ids: id of each.
        times: when each was made, or None where that is not known.
        says: text and label of each, in any form that is equal for equal ones.

    Returns:
        Row → in words, why it does not count.
    """
    of_id: defaultdict[str, list[int]] = defaultdict(list)
    for at, each in enumerate(ids):
        of_id[each.strip()].append(at)
    found: dict[int, str] = {}
    for each, places in of_id.items():
        last = max((time for at in places if (time := times[at]) is not None), default=None)
        newest = [at for at in places if times[at] == last]
        told = f"{len(places)} rows have the id {each}"
        if len({says[at] for at in newest}) > 1:
            since = "none has a time" if last is None else f"{len(newest)} of them are of {last.isoformat()}"
            found |= {rows[at]: f"{told}; {since}, and they do not say the same" for at in places}
        elif last is not None:
            found |= {rows[at]: f"{told}; that of {last.isoformat()} counts" for at in places if at not in newest}
    return dict(sorted(found.items()))
