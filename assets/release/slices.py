"""Whether a challenger is significantly worse than the champion on a part of the test rows."""

from __future__ import annotations

from typing import Any

from assets.release.same_rows import SameRows

LEVEL = 0.05
"""Chance that any slice alarms although the challenger is as good on every one."""


def judge(same_rows: SameRows) -> list[dict[str, Any]]:
    """Compare both models' accuracy on every slice, in the order of their names.

    McNemar's exact test, one-sided, on the rows that only one of the two answers correctly; corrected for the number of
    slices by Holm's procedure, which holds however slices overlap. On a handful of rows it cannot alarm.

    Returns:
        `name`, `rows`, `difference` of the accuracies, its 95 % `interval`, `p`, `adjusted_p` and `worse` of each.
    """
    from assets.evaluation.intervals import holm, mcnemar_worse, paired_difference

    members: dict[str, list[int]] = {}
    for at, names in enumerate(same_rows.slices):
        for name in names:
            members.setdefault(name, []).append(at)
    true, new, old = same_rows.codes
    classes = max((*true, *new, *old), default=0) + 1
    found: list[dict[str, Any]] = []
    for name, rows in sorted(members.items()):
        own, one, two = ([codes[at] for at in rows] for codes in (true, new, old))
        gained = sum(n == t != o for t, n, o in zip(own, one, two, strict=True))
        lost = sum(o == t != n for t, n, o in zip(own, one, two, strict=True))
        difference = paired_difference("accuracy", own, one, two, classes)
        found.append(
            {
                "name": name,
                "rows": len(rows),
                "difference": difference.value,
                "interval": [difference.low, difference.high],
                "p": float(mcnemar_worse(gained, lost)),
            }
        )
    adjusted = holm({each["name"]: each["p"] for each in found})
    return [{**each, "adjusted_p": adjusted[each["name"]], "worse": adjusted[each["name"]] <= LEVEL} for each in found]
