"""What an evaluation writes beside metrics and predictions, made up, and what the gate says of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.release.material import LABELS, METRICS, write_json

HOSTILE = "</script><script>alert('x')</script><b>&"


def bins(sure: float) -> list[dict[str, float]]:
    return [
        {
            "low": at / 10,
            "high": at / 10 + 0.1,
            "rows": 9 * at * at,
            "confidence": at / 10 + 0.05,
            "accuracy": sure * at / 10,
        }
        for at in range(5, 10)
    ]


def write_all(folder: Path, labels: Sequence[str] = LABELS, hostile: str = "") -> None:
    """Add every file that an evaluation may have, with `hostile` in every text of it."""
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    for part in (metrics, metrics["baseline"]):
        part["intervals"] = {name: [max(part[name] - 0.04, 0.0), min(part[name] + 0.03, 1.0)] for name in METRICS}
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "slices.json", [_slice(f"source: mail{hostile}", 800), _slice(f"length: short{hostile}", 9)])
    write_json(
        folder / "calibration.json",
        {
            "temperature": 1.4,
            "rows": 120,
            "before": {"ece": 0.081, "bins": bins(0.8)},
            "after": {"ece": 0.021, "bins": bins(1.0)},
        },
    )
    measured = {"precision": 0.91, "recall": 0.95, "f1": 0.93}
    curve = [{"threshold": at / 20, "precision": 0.5 + at / 40, "recall": 1 - at / 30, "f1": 0.9} for at in range(21)]
    write_json(
        folder / "thresholds.json",
        {
            "goal": "f1",
            "label": f"{labels[-1]}{hostile}",
            "chosen": 0.35,
            "validation": measured,
            "test": measured,
            "curve": curve,
        },
    )
    pair = {"label": labels[0], "predicted": labels[-1], "rows": 14, "share": 0.07}
    write_json(folder / "confusions.json", [pair])
    write_json(
        folder / "findings.json",
        [
            {"kind": "strength", "message": f"It finds 98 % of spam{hostile}.", "fix": ""},
            {"kind": "weakness", "message": f"Short texts are often wrong{hostile}.", "fix": f"Label more{hostile}."},
        ],
    )


def _slice(name: str, rows: int) -> dict[str, Any]:
    return {
        "name": name,
        "by": name.partition(":")[0],
        "rows": rows,
        "small": rows < 30,
        "metrics": dict.fromkeys(METRICS, 0.9),
        "intervals": {name: [0.85, 0.94] for name in METRICS},
    }


def compared(decision: dict[str, Any], flips: Sequence[str], hostile: str = "") -> dict[str, Any]:
    """Make a decision as the gate writes it down where it compares differences, slices and rows."""
    judged = {"difference": 0.0123, "interval": [-0.002, 0.027], "method": f"paired bootstrap{hostile}", "rows": 1000}
    champion = {
        "name": "champion",
        "passed": True,
        "value": 0.91,
        "limit": 0.8927,
        "message": f"macro F1 is 0.0123 above the champion{hostile}",
        **judged,
    }
    budget = {"name": "latency", "passed": True, "value": 12.0, "limit": 50.0, "message": f"12 ms a row{hostile}"}
    others = [each for each in decision["comparisons"] if each["name"] not in {"champion", "latency"}]
    sliced = {"name": f"source: mail{hostile}", "rows": 800, "difference": -0.02, "interval": [-0.05, 0.01], "p": 0.2}
    return {
        **decision,
        "comparisons": [*others, champion, budget],
        "slices": [{**sliced, "adjusted_p": 0.4, "worse": True}],
        "flips": {"only_challenger": 3, "only_champion": 2, "both_wrong_differently": 0, "rows": list(flips)},
    }
