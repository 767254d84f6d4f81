"""The rule as one says it for one text at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from assets.splits.sides import SIDES


def position(salt: str, text: str) -> float:
    digest = hashlib.sha256(json.dumps([salt, text]).encode("ascii")).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def side_at(at: float, *, validation: float, test: float) -> str:
    if at < test:
        return "test"
    return "validation" if at < test + validation else "train"


def sides_of_groups(members: Iterable[tuple[str, str]], *, salt: str, validation: float, test: float) -> dict[str, str]:
    """From (group, text) of every text that counts to the side of each group: the lowest of its members' sides."""
    sides: dict[str, str] = {}
    for name, text in members:
        side = side_at(position(salt, text), validation=validation, test=test)
        sides[name] = min(side, sides.get(name, side), key=SIDES.index)
    return sides
