"""Plots that take the page's colours."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from assets.release import plots

HISTORY: dict[str, Any] = {
    "best_epoch": 1,
    "steps": [{"step": step, "loss": 1 / step, "learning_rate": 1e-4} for step in range(1, 9)],
    "epochs": [{"epoch": epoch, "step": 4 * epoch, "loss": 0.3, "f1_macro": 0.9 - epoch / 10} for epoch in (1, 2)],
}


def texts(svg: str) -> list[str]:
    return [text for element in ET.fromstring(svg).iter() if (text := (element.text or "").strip())]  # noqa: S314


@pytest.mark.parametrize("labels", [2, 5, 12, 25])
def test_colours_are_the_pages(labels: int) -> None:
    matrix = [[5 if row == column else 1 for column in range(labels)] for row in range(labels)]
    svg = plots.confusion([f"label {index}" for index in range(labels)], matrix)
    assert not re.search(r"#[0-9a-fA-F]{3,}(?![\w-])", re.sub(r"url\(#\w+\)|href=\"#\w+\"", "", svg))
    for variable in ("--ink", "--muted", "--line", "--accent"):
        assert f"var({variable})" in svg
    assert "font-family" not in svg
    assert "<style" not in svg


def test_a_confusion_matrix_says_counts_and_shares() -> None:
    said = texts(plots.confusion(["ham", "spam"], [[30, 10], [0, 0]]))
    assert said.count("ham") == said.count("spam") == 2
    assert {"30", "75.0%", "10", "25.0%"} <= set(said)


def test_many_labels_are_shaded_without_numbers() -> None:
    labels = [f"label {index}" for index in range(30)]
    svg = plots.confusion(labels, [[7] * 30 for _ in labels])
    assert "7" not in texts(svg)
    assert svg.count("var(--accent)") == 900


@pytest.mark.parametrize("label", ["<script>alert(1)</script>", "$x^2", "a_$b$", "垃圾短信", "x" * 60, "&amp;"])
def test_any_label_is_only_text(label: str) -> None:
    svg = plots.confusion([label, "other"], [[1, 2], [3, 4]])
    assert any(text == label or (text.endswith("…") and label.startswith(text[:-1])) for text in texts(svg))
    said = [element.get("aria-label") for element in ET.fromstring(svg).iter()]  # noqa: S314
    assert f"true {label}, answered other: 2 rows, 66.7% of {label}" in said
    assert "<script" not in svg


def test_the_curve_rings_the_epoch_that_is_used() -> None:
    svg = plots.curve(HISTORY, "f1_macro", "macro F1")
    assert "macro F1 on validation; ringed: epoch 1, used" in texts(svg)
    assert "epoch 1, step 4: validation loss 0.3000, macro F1 0.8000, used" in svg


@pytest.mark.parametrize("values", [(0.9777, 0.9777), (1.0, 1.0), (0.2, 1.0)])
def test_no_metric_is_drawn_above_1(values: tuple[float, float]) -> None:
    epochs = [{**epoch, "f1_macro": value} for epoch, value in zip(HISTORY["epochs"], values, strict=True)]
    said = texts(plots.curve({**HISTORY, "epochs": epochs}, "f1_macro", "macro F1"))
    ticks = [float(text) for text in said[said.index("step") :] if re.fullmatch(r"[01]\.\d+", text)]
    assert ticks
    assert max(ticks) <= 1.0


def test_equal_plots_are_equal_and_share_no_names() -> None:
    first = plots.confusion(["a", "b"], [[1, 2], [3, 4]])
    assert first == plots.confusion(["a", "b"], [[1, 2], [3, 4]])
    assert " id=" not in first + plots.curve(HISTORY, "f1_macro", "F1")


def test_points_say_what_they_stand_for() -> None:
    part = {"bins": [{"low": 0.9, "high": 1.0, "rows": 40, "confidence": 0.97, "accuracy": 0.9}]}
    svg = plots.reliability({"before": part, "after": part})
    assert "after calibration, confidence 0.90 – 1.00: 40 rows, mean confidence 97.0%, 90.0% right" in svg
    curve = [{"threshold": at / 4, "precision": 0.5, "recall": 1 - at / 4} for at in range(5)]
    svg = plots.thresholds(curve, {"precision": "precision", "recall": "recall"}, 0.25)
    assert "threshold 0.250: precision 0.5000, recall 0.7500" in svg
    assert "in use: 0.250" in texts(svg)
    points = [
        {"name": "0", "decision": "promoted", "value": 0.9, "low": 0.88, "high": 0.92},
        {"name": "1", "decision": "refused", "value": 0.8, "low": None, "high": None},
    ]
    svg = plots.releases(points, "macro F1")
    assert "0: promoted, macro F1 0.9000 (95 % interval 0.8800 – 0.9200)" in svg
    assert "1: refused, macro F1 0.8000" in svg
