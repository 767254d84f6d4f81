from __future__ import annotations

from typing import Any

import pytest

from assets.store.plan import Plan, Reason, StepPlan, differences
from assets.store.store import Record

BASE: dict[str, Any] = {
    "code": {"assets.a.f": "1"},
    "configuration": {"training.learning_rate": 5e-05},
    "environment": {"torch": "2.13"},
    "inputs": {"splits": "s1", "source": "o1"},
}
FILES = {"source": {"a.csv": ["aa", 100], "b.csv": ["bb", 200]}}


def changed(files: dict[str, list[Any]] | None = None, **parts: Any) -> list[str]:
    old = Record("k", "c", "t", BASE, FILES, 1.0, 1.0, "me")
    inputs = {"splits": "s1", "source": "o1" if files is None else "o2"}
    now = {**BASE, "inputs": inputs, **parts}
    return [str(reason) for reason in differences(old, now, {"source": files or FILES["source"]}, {"source": "source"})]


def test_equal_ingredients_give_no_reason() -> None:
    assert changed() == []


@pytest.mark.parametrize(
    ("part", "value", "says"),
    [
        ("configuration", {"training.learning_rate": 3e-05}, ["config training.learning_rate 5e-05 → 3e-05"]),
        ("configuration", {}, ["config training.learning_rate 5e-05 → unset"]),
        ("code", {"assets.a.f": "2", "assets.a.g": "1"}, ["code assets.a.f", "code assets.a.g"]),
        ("environment", {"torch": "2.15"}, ["environment torch 2.13 → 2.15"]),
        ("inputs", {"splits": "s2", "source": "o1"}, ["input splits"]),
    ],
)
def test_each_changed_ingredient_is_named_with_its_values(part: str, value: object, says: list[str]) -> None:
    assert changed(None, **{part: value}) == says


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({**FILES["source"], "c.csv": ["cc", 14_000]}, "source +1 file, 14 kB"),
        ({"a.csv": ["aa", 100]}, "source -1 file: b.csv"),
        ({"a.csv": ["aa", 100], "z.csv": ["bb", 200]}, "source 1 file renamed: z.csv"),
        ({"a.csv": ["ab", 100], "b.csv": ["bb", 200]}, "source 1 file changed: a.csv"),
        ({"a.csv": ["aa", 100], "c.csv": ["cc", 1], "d.csv": ["dd", 2]}, "source +2 files, 3 B; -1 file: b.csv"),
    ],
)
def test_a_changed_source_is_told_by_its_files(files: dict[str, list[Any]], says: str) -> None:
    assert changed(files) == [says]


def test_json_has_the_documented_shape() -> None:
    reason = Reason("config", "training.learning_rate", 5e-05, 3e-05)
    plan = Plan(
        "sms_spam",
        (
            StepPlan("raw", "fresh", ()),
            StepPlan("model", "stale", (reason,), estimated_seconds=80),
            StepPlan("evaluation", "pending", (Reason("input", "model"),)),
        ),
    )
    assert plan.json() == {
        "pipeline": "sms_spam",
        "steps": [
            {"step": "raw", "state": "fresh", "reasons": []},
            {
                "step": "model",
                "state": "stale",
                "reasons": [{"kind": "config", "what": "training.learning_rate", "old": 5e-05, "new": 3e-05}],
                "estimated_seconds": 80,
            },
            {"step": "evaluation", "state": "pending", "reasons": [{"kind": "input", "what": "model"}]},
        ],
    }
    assert plan.to_run == ("model", "evaluation")
    assert plan["model"].state == "stale"
