"""What is said of a model in words."""

from __future__ import annotations

from typing import Any

import pytest

from assets.evaluation import STEP
from assets.evaluation.findings import FEW, findings
from assets.evaluation.intervals import wilson
from assets.evaluation.score import confused

Confusion = list[list[int]]
HONEST = {"ece": 0.01, "by_chance": 0.05, "bins": [{"rows": 400, "confidence": 0.9, "accuracy": 0.9}]}


def found(
    matrix: Confusion,
    *,
    f1: tuple[float, float, float] = (0.9, 0.88, 0.92),
    baseline: tuple[float, float, float] = (0.7, 0.65, 0.75),
    slices: list[dict[str, Any]] | None = None,
    errors: list[dict[str, Any]] | None = None,
    after: dict[str, Any] | None = None,
    thresholds: dict[str, Any] | None = None,
) -> dict[str, list[str]]:
    labels = ["ham", "spam", "junk"][: len(matrix)]
    rows = sum(map(sum, matrix))
    metrics: dict[str, Any] = {
        "accuracy": sum(matrix[at][at] for at in range(len(matrix))) / rows,
        "rows": rows,
        "f1_macro": f1[0],
        "intervals": {"f1_macro": f1[1:]},
        "baseline": {"f1_macro": baseline[0], "intervals": {"f1_macro": baseline[1:]}},
        "confusion": {"labels": labels, "matrix": matrix},
    }
    told = findings(
        metrics, slices or [], confused(metrics["confusion"]), errors or [], {"after": after or HONEST}, thresholds
    )
    assert all(each["fix"] for each in told if each["kind"] == "weakness"), "a person can act on it"
    return {kind: [each["message"] for each in told if each["kind"] == kind] for kind in ("weakness", "strength")}


def test_a_label_that_is_missed_is_named_with_what_it_is_taken_for() -> None:
    said = found([[190, 5, 5], [40, 60, 0], [2, 0, 98]])["weakness"]

    assert said[0].startswith("spam is found in only 60% of 100 rows [50–69 %]; most are taken for ham (40)")


def test_a_model_without_errors_has_no_weak_label() -> None:
    """184 and 144 are among the numbers of rows of which the interval of all being right ended below 1, by rounding."""
    said = found(
        [[184, 0], [0, 62]],
        f1=(1.0, 0.97, 1.0),
        slices=[
            {
                "name": "short",
                "by": "text_length",
                "rows": 144,
                "small": False,
                "metrics": {"accuracy": 1.0},
                "intervals": {"accuracy": [float(limit) for limit in wilson(144, 144)]},
            }
        ],
    )
    assert said["weakness"] == []


def test_labels_that_stand_out_for_the_better_are_strengths() -> None:
    assert (
        "junk is found in 100% of 200 rows [98–100 %]" in (found([[150, 50, 0], [60, 140, 0], [0, 0, 200]])["strength"])
    )


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[90, 0], [0, 0]], "spam has no row on the test side, so nothing is known of it"),
        ([[90, 0], [0, FEW - 1]], f"spam has only {FEW - 1} rows on the test side"),
    ],
)
def test_labels_of_which_little_is_known(matrix: Confusion, message: str) -> None:
    assert any(each.startswith(message) for each in found(matrix)["weakness"])


@pytest.mark.parametrize(
    ("f1", "kind", "message"),
    [
        ((0.9, 0.88, 0.92), "strength", "it is clearly better than TF-IDF with logistic regression"),
        ((0.72, 0.7, 0.74), "weakness", "it is not clearly better than TF-IDF with logistic regression"),
        ((0.5, 0.45, 0.55), "weakness", "it is worse than TF-IDF with logistic regression"),
    ],
)
def test_the_baseline(f1: tuple[float, float, float], kind: str, message: str) -> None:
    said = [each for each in found([[180, 20], [20, 180]], f1=f1)[kind] if "TF-IDF" in each]

    assert len(said) == 1
    assert said[0] == f"{message}: macro F1 {f1[0]:.3f} [{f1[1]:.3f}–{f1[2]:.3f}], the baseline's 0.700"


def test_slices_that_stand_out_are_said_unless_they_are_small() -> None:
    def part(name: str, accuracy: float, low: float, high: float, **more: Any) -> dict[str, Any]:
        metrics = {"metrics": {"accuracy": accuracy}, "intervals": {"accuracy": (low, high)}}
        return {"name": name, "by": "column", "rows": 100, "small": False, **metrics, **more}

    told = found(
        [[180, 20], [20, 180]],
        slices=[
            part("language=de", 0.6, 0.5, 0.69),
            part("language=en", 0.99, 0.95, 1.0),
            part("language=fr", 0.85, 0.77, 0.91),
            part("language=it", 0.2, 0.1, 0.4, small=True),
            part("label spam", 0.2, 0.1, 0.4, by="label"),
        ],
    )

    assert "language=de: 60% of 100 rows are right [50–69 %], 90% of all" in told["weakness"]
    assert "language=en: 99% of 100 rows are right [95–100 %], 90% of all" in told["strength"]
    everything = " ".join([*told["weakness"], *told["strength"]])
    assert not any(name in everything for name in ("language=fr", "language=it", "label spam"))


@pytest.mark.parametrize(
    ("sure", "right", "message"),
    [
        (0.95, 0.8, "it is too sure of its answers: 95.0% on average, and 80.0% are right (ECE 0.150)"),
        (
            0.6,
            0.75,
            "it is less sure than it could be of its answers: 60.0% on average, and 75.0% are right (ECE 0.150)",
        ),
    ],
)
def test_confidence_that_is_not_accuracy(sure: float, right: float, message: str) -> None:
    bins = [{"rows": 400, "confidence": sure, "accuracy": right}]

    assert message in found([[180, 20], [20, 180]], after={"ece": 0.15, "by_chance": 0.05, "bins": bins})["weakness"]


def test_sure_errors_are_counted() -> None:
    errors = [{"row_id": str(at), "label": "ham", "predicted": "spam", "confidence": 0.97} for at in range(3)]

    assert (
        "3 rows are answered wrongly with a confidence of 95% or more"
        in (found([[180, 20], [20, 180]], errors=errors)["weakness"])
    )
    assert (
        "1 row is answered wrongly with a confidence of 95% or more"
        in (found([[180, 20], [20, 180]], errors=errors[:1])["weakness"])
    )


def test_a_goal_out_of_reach_comes_first() -> None:
    thresholds = {
        "met": False,
        "goal": "precision",
        "label": "spam",
        "at_least": 0.9,
        "validation": {"recall": 0.8},
    }

    assert found([[10, 190], [190, 10]], thresholds=thresholds)["weakness"][0] == (
        "no threshold of spam reaches a recall of 0.9 on the validation side; the best reaches 0.800"
    )
    assert "no threshold" not in str(found([[180, 20], [20, 180]], thresholds={**thresholds, "met": True}))


def test_the_check_of_calibration() -> None:
    check = next(check for check in STEP.checks if check.name == "calibrated")
    calibration = {"temperature": 1.5, "reason": "", "ece_before": 0.2, "ece_after": 0.03, "ece_by_chance": 0.05}

    outcome = check.judge({"calibration": calibration}, None)
    assert outcome.passed
    assert outcome.message == (
        "confidence and accuracy differ by 0.030 on average (ECE; 0.200 before temperature 1.5); chance alone gives "
        "up to 0.050 on so many rows"
    )
    worse = check.judge({"calibration": {**calibration, "ece_after": 0.1, "reason": "too few"}}, None)
    assert (worse.passed, worse.warning) == (False, True)
    assert worse.message.endswith("; no temperature was fitted: too few")


def test_the_check_of_the_threshold() -> None:
    check = next(check for check in STEP.checks if check.name == "threshold_reached")
    threshold = {"label": "spam", "threshold": 0.25, "met": True}

    assert check.judge({}, None).message == "no threshold is configured: the likeliest label is predicted"
    assert check.judge({"threshold": threshold}, None).message == (
        "spam is predicted from a score of 0.2500; the goal is reached on the validation side"
    )
    missed = check.judge({"threshold": {**threshold, "met": False}}, None)
    assert (missed.passed, missed.warning) == (False, True)
