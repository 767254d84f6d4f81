"""The rule that gives each group of texts its side.

Every text has a position in [0, 1), by salt and text alone. The line is divided as

    0 ── test ── test share ── validation ── test + validation share ── train ── 1

and a group stands where its highest member stands, which is its members' lowest side in the order train < validation <
test. So a group that grows can only move to the right, towards train. A share that grows takes from the sides on its
right: a larger test share keeps every row that was in the test set, and takes from validation, which then takes from
train.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SIDES = ("train", "validation", "test")


def position(salt: str, text: str) -> float:
    """Position of a text, uniform over [0, 1) across texts and across salts."""
    digest = hashlib.sha256(json.dumps([salt, text]).encode("ascii")).digest()
    # 53 bits are what a float holds exactly; more could be rounded up to 1.
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def side_at(at: float, *, validation: float, test: float) -> str:
    """Side that a position in [0, 1) falls on, by the shares of validation and test."""
    if at < test:
        return "test"
    return "validation" if at < test + validation else "train"


def sides_of_groups(members: Iterable[tuple[str, str]], *, salt: str, validation: float, test: float) -> dict[str, str]:
    """Give each group its side.

    Args:
        members: (group, text) of every text that counts, in any order.
        salt: changes which texts go where.
        validation: share of texts for validation, in (0, 1).
        test: share of texts for the test set, in (0, 1).

    Returns:
        group → side.
    """
    highest: dict[str, float] = {}
    for name, text in members:
        highest[name] = max(highest.get(name, 0.0), position(salt, text))
    return {name: side_at(at, validation=validation, test=test) for name, at in highest.items()}
