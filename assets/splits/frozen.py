"""Sides where the test set came with the data: its rows are the test set, and nothing else is.

A row that is in one group with a row of the test set – a near-duplicate, or one of the same user where that is grouped
by – would give an answer away if it were trained on, and is not the test set's either. It is left out: on no side. So
rows of the test set never move, and others move only towards train, or out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from assets.splits.sides import SIDES

if TYPE_CHECKING:
    from assets.splits.rule import Indices, Sides


def set_apart(side: Sides, group: Indices, frozen: npt.NDArray[np.bool_]) -> None:
    """Put the rows of the test set on its side, and those in a group with one on none.

    A row of the test set that is in quarantine counts: it may be there again after a correction.

    Args:
        side: of each row by the rule for all others, or -1; changed in place.
        group: the row that names its group, for each row that counts, or -1.
        frozen: whether each row is of the test set.
    """
    members = group >= 0
    held = np.zeros(len(group), bool)
    held[group[members & frozen]] = True
    side[members & held[group]] = -1
    side[members & frozen] = SIDES.index("test")
