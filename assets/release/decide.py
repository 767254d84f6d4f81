"""The step's function: compare, decide, and say why in a report and a model card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from assets.release import gate, log, report, serving, slices
from assets.release.account import row_account
from assets.release.same_rows import SameRows, on_same_rows, overlap
from assets.store.step import Build, Measurements


@dataclass(frozen=True)
class Asked:
    """What is asked of the challenger in comparison with another model; see `decide`."""

    metric: str
    below_champion: float | None
    promote_if: str | None
    margin: float | None


def decide(
    build: Build,
    *,
    metric: str,
    floor: float | Mapping[str, float] | None,
    above_baseline: float | None,
    below_champion: float | None,
    promote_if: str | None,
    margin: float | None,
    reference: bool,
    slices: bool,
    max_ece: float | None,
    servable: bool | None,
    max_size_mb: float | None,
    max_latency_ms: float | None,
    promotion: str,
) -> Measurements:
    """Decide whether the challenger becomes the champion.

    Args:
        build: inputs `splits`, `model` and `evaluation`, the promotion log and the measurements of all earlier steps.
        metric: metric of the comparisons, on the test set.
        floor: least value of the metric, or of each metric that it names, or None.
        above_baseline: least difference to the baseline on the same rows, or None.
        below_champion: how much worse than the champion on the same rows it may be, or None.
        promote_if: `better` or `not_worse`: what the interval of the difference to the champion must prove, or None.
        margin: margin of that, or None: `gate.MARGINS`.
        reference: whether to ask the same in comparison with the reference champion.
        slices: whether a slice that is significantly worse than the champion's refuses the challenger.
        max_ece: largest expected calibration error, or None.
        servable: see `serving.conditions`; so are the following.
        max_size_mb: most MB of the saved model, or None.
        max_latency_ms: most milliseconds for a single row, or None.
        promotion: `automatic`, or `manual`: a challenger that meets every condition waits for a person.

    Returns:
        `decision`, `champion` (digest after it, or None), `comparisons`, `metrics`, `account` (of rows) and `unseen`
        (what proves that no compared row was seen).
    """
    metrics = _read_json(build.inputs["evaluation"] / "metrics.json")
    labels = metrics["confusion"]["labels"]
    challenger, before = build.digests["model"], log.champion(build.log)
    same_rows = on_same_rows(build, before, labels) if before and before != challenger else None
    asked = Asked(metric, below_champion, promote_if, margin)

    # The conditions in the order in which they are told; every one is judged, so that all reasons are known at once.
    comparisons = _alone(metrics, metric, floor, above_baseline)
    if max_ece is not None:
        comparisons.append(gate.calibrated(_ece(build.inputs["evaluation"]), max_ece))
    comparisons += serving.conditions(build, servable=servable, max_size_mb=max_size_mb, max_latency_ms=max_latency_ms)
    compared = {"champion": (before, same_rows)} if before and same_rows else {}
    if before and same_rows:
        comparisons += _of(build, before, same_rows, asked)
    origin = log.reference(build.log) if reference and (below_champion is not None or promote_if is not None) else None
    if origin and origin not in {before, challenger}:
        compared["reference"] = origin, on_same_rows(build, origin, labels)
        comparisons += _of(build, origin, compared["reference"][1], asked, "reference")
    judged = _slices(same_rows)
    if judged and slices:
        comparisons.append(gate.no_slice_worse(judged))
    if gone := log.rolled_back(build.log):
        comparisons.append(gate.not_rolled_back(was_rolled_back=challenger in gone))
    verdict = gate.decide(challenger, before, comparisons, promotion)

    decision = {
        "decision": verdict,
        "challenger": challenger,
        "champion_before": before,
        "reference": origin,
        "metric": metric,
        "comparisons": [asdict(comparison) for comparison in comparisons],
        "slices": judged,
        "flips": same_rows.flips if same_rows and same_rows.champion else None,
        "metrics": gate.plain_metrics(metrics),
        "baseline": gate.plain_metrics(metrics["baseline"]),
        "champion_metrics": same_rows.champion if same_rows else None,
        "rows": metrics["rows"],
        "rows_seen_by_champion": same_rows.seen if same_rows else 0,
    }
    account = row_account(build.measurements)
    report.write(build, decision, metrics, account, same_rows)
    build.progress.message(f"{verdict}: {gate.METRIC_NAMES[metric]} {metrics[metric]:.4f}")
    return {
        "decision": verdict,
        "champion": challenger if verdict == "promoted" else before,
        "comparisons": decision["comparisons"],
        "metrics": decision["metrics"],
        "account": account,
        "unseen": [_unseen(build, name, model, found) for name, (model, found) in compared.items() if found.rows],
    }


def _alone(
    metrics: Mapping[str, Any], metric: str, floor: float | Mapping[str, float] | None, above_baseline: float | None
) -> list[gate.Comparison]:
    """What is asked of the challenger whatever model is in use."""
    if floor is None:
        comparisons = []
    elif isinstance(floor, Mapping):
        comparisons = [
            gate.at_least_floor(name, metrics[name], least, f"floor_{name}") for name, least in floor.items()
        ]
    else:
        comparisons = [gate.at_least_floor(metric, metrics[metric], floor)]
    if above_baseline is not None:
        comparisons.append(gate.above_baseline(metric, metrics[metric], metrics["baseline"][metric], above_baseline))
    return comparisons


def _of(build: Build, model: str, same_rows: SameRows, asked: Asked, whose: str = "champion") -> list[gate.Comparison]:
    """What is asked in comparison with the champion, or with the reference."""
    if asked.below_champion is None and asked.promote_if is None:
        return []
    if not same_rows.challenger or not same_rows.champion:
        return [_incomparable(build.pipeline, same_rows.reason, whose)]
    comparisons = []
    if asked.below_champion is not None:
        new, old = same_rows.challenger[asked.metric], same_rows.champion[asked.metric]
        comparisons.append(gate.not_below_champion(asked.metric, new, old, asked.below_champion, same_rows.rows, whose))
    if asked.promote_if is not None:
        comparisons.append(_proven(build.pipeline, same_rows, asked, asked.promote_if, whose))
    comparisons = [gate.with_labels(each, same_rows.said) for each in comparisons]
    return [gate.of_unknown_rows(each) for each in comparisons] if log.adopted(build.log, model) else comparisons


def _proven(pipeline: str, same_rows: SameRows, asked: Asked, promote_if: str, whose: str) -> gate.Comparison:
    """What the interval of the difference proves."""
    from assets.evaluation.intervals import paired_difference

    true, new, old = same_rows.codes
    gone = [label for at, label in enumerate(same_rows.labels) if at not in set(true)]
    if gone and asked.metric != "accuracy":
        # An average that counts such a label 0 for both would make every loss look smaller than it is.
        return _incomparable(pipeline, f"no row of {', '.join(gone)} is left that it was not trained on", whose)
    # Labels that only the challenger knows have the highest numbers: it may answer with them, and then is wrong.
    known = len(same_rows.labels)
    found, best = (
        paired_difference(
            asked.metric, true, answers, old, max(2, known, *(at + 1 for at in new)), gate.LEVELS[promote_if], known
        )
        for answers in (new, true)
    )
    margin = gate.MARGINS[promote_if] if asked.margin is None else asked.margin
    return gate.proven(asked.metric, found, best, promote_if, margin, same_rows.rows, whose)


def _incomparable(pipeline: str, reason: str, whose: str) -> gate.Comparison:
    if whose == "reference":
        return gate.reference_incomparable(reason)
    refused = gate.champion_incomparable(reason)
    return replace(refused, message=f"{refused.message}: `freshtune models {pipeline} promote VERSION`")


def _slices(same_rows: SameRows | None) -> list[dict[str, Any]]:
    return slices.judge(same_rows) if same_rows and same_rows.champion else []


def _unseen(build: Build, name: str, model: str, same_rows: SameRows) -> dict[str, Any]:
    """What proves that neither of two models has seen a row that they were compared on."""
    return {
        "compared_with": name,
        "rows": same_rows.rows,
        "left_out": same_rows.seen,
        "seen_by_challenger": overlap(build, None, same_rows.row_ids),
        "seen_by_other": None if log.adopted(build.log, model) else overlap(build, model, same_rows.row_ids),
    }


def _ece(evaluation: Path) -> float | None:
    """Expected calibration error after calibration; results of earlier versions have none."""
    path = evaluation / "calibration.json"
    return float(_read_json(path)["after"]["ece"]) if path.is_file() else None


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
