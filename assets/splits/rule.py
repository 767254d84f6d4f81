"""The rule that gives each group of texts its side by a hash.

Every text has a position in [0, 1), by salt and text alone. The line is divided as

    0 ── test ── test share ── validation ── test + validation share ── train ── 1

and a group stands where its highest member stands, which is its members' lowest side in the order train < validation <
test. So a group that grows can only move to the right, towards train. A share that grows takes from the sides on its
right: a larger test share keeps every row that was in the test set, and takes from validation, which then takes from
train.
"""

from __future__ import annotations

import hashlib
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

Positions = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int32]
"""A row for each row, or -1."""
Sides = npt.NDArray[np.int8]
"""A place in `assets.splits.sides.SIDES` for each row, or -1."""


def position(salt: str, text: str) -> float:
    """Position of a text, uniform over [0, 1) across texts and across salts."""
    # What `json.dumps` writes for the two in a list; it takes three times as long.
    digest = hashlib.sha256(f"[{quoted(salt)}, {quoted(text)}]".encode("ascii")).digest()
    # 53 bits are what a float holds exactly; more could be rounded up to 1.
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def positions(salt: str, texts: pa.Array) -> Positions:
    """Positions of many texts, none of them null; see `position`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = texts.cast(pa.large_string())
    other = pc.match_substring_regex(texts, "[^ -~]")
    quotable = texts
    for character in ("\\", '"'):
        quotable = pc.replace_substring(quotable, character, f"\\{character}")
    pieces = (f'[{quoted(salt)}, "', quotable, '"]', "")
    large = (pa.scalar(piece, pa.large_string()) if isinstance(piece, str) else piece for piece in pieces)
    told = pc.binary_join_element_wise(*large).cast(pa.large_binary()).to_pylist()
    sha256 = hashlib.sha256
    digests = b"".join([sha256(each).digest() for each in told])
    at = (np.frombuffer(digests, ">u8")[::4] >> np.uint64(11)) / np.float64(2**53)
    # Other characters are written as numbers, which Arrow does not do.
    at[other.to_numpy(zero_copy_only=False)] = [position(salt, text) for text in texts.filter(other).to_pylist()]
    return at


def sides_at(at: Positions, *, validation: float, test: float) -> Sides:
    """Side that each position in [0, 1) falls on, by the shares of validation, in (0, 1), and of test, in [0, 1)."""
    return (at < test).astype(np.int8) + (at < test + validation).astype(np.int8)


def sides_of_groups(own: Sides, group: Indices) -> Sides:
    """Give each group its side: the lowest of its members' own in the order of `SIDES`.

    Args:
        own: side of each row by itself.
        group: the row that names its group, for each row that counts, that one among them.

    Returns:
        For each row that counts the side of its group, for others -1.
    """
    lowest = own.copy()
    # Most rows are a group of their own.
    grouped = np.flatnonzero((group >= 0) & (group != np.arange(len(group))))
    np.minimum.at(lowest, group[grouped], own[grouped])
    sides = np.where(group >= 0, lowest, np.int8(-1))
    sides[grouped] = lowest[group[grouped]]
    return sides
