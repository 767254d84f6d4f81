"""The step's function: compare, decide, and say why in a report and a model card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from assets.errors import DamagedError
from assets.release import gate, log, report, serving
from assets.release.account import row_account
from assets.store.step import Build, Measurements


@dataclass(frozen=True)
class SameRows:
    """Challenger and champion on the test rows that the champion was not trained on.

    Attributes:
        rows: rows compared.
        seen: test rows left out, because the champion was trained on them or chosen by them.
        reason: why there is no comparison, or "".
        challenger: the challenger's metrics on these rows; empty without a comparison.
        champion: the champion's metrics on these rows; empty without a comparison.
        only_challenger: rows that only the challenger answers correctly.
        only_champion: rows that only the champion answers correctly.
        both_wrong_differently: rows that both answer wrongly, and not the same.
        codes: label, the challenger's and the champion's answer of each row, as numbers.
        labels: names of the labels, in the order of their numbers.
    """

    rows: int
    seen: int
    reason: str = ""
    challenger: Mapping[str, float] | None = None
    champion: Mapping[str, float] | None = None
    only_challenger: int = 0
    only_champion: int = 0
    both_wrong_differently: int = 0
    codes: tuple[list[int], list[int], list[int]] = ([], [], [])
    labels: tuple[str, ...] = ()


def decide(
    build: Build,
    *,
    metric: str,
    floor: float | None,
    above_baseline: float | None,
    below_champion: float | None,
    promote_if: str | None,
    margin: float | None,
    servable: bool | None,
    max_size_mb: float | None,
    max_latency_ms: float | None,
) -> Measurements:
    """Decide whether the challenger becomes the champion.

    Args:
        build: inputs `splits`, `model` and `evaluation`, the promotion log and the measurements of all earlier steps.
        metric: metric of the comparisons, on the test set.
        floor: least value of the metric, or None.
        above_baseline: least difference to the baseline on the same rows, or None.
        below_champion: how much worse than the champion on the same rows it may be, or None.
        promote_if: `better` or `not_worse`: what the interval of the difference to the champion must prove, or None.
        margin: margin of that, or None: `gate.MARGINS`.
        servable: see `serving.conditions`; so are the following.
        max_size_mb: most MB of the saved model, or None.
        max_latency_ms: most milliseconds for a single row, or None.

    Returns:
        `decision`, `champion` (digest after it, or None), `comparisons`, `metrics` and `account` (of rows).
    """
    metrics = _read_json(build.inputs["evaluation"] / "metrics.json")
    challenger, before = build.digests["model"], log.champion(build.log)
    same_rows = _against(build, before, metrics) if before and before != challenger else None

    comparisons = _compare(build.pipeline, metrics, same_rows, metric, floor, above_baseline, below_champion)
    if same_rows and promote_if is not None:
        comparisons += _proven(build.pipeline, same_rows, metric, promote_if, margin, below_champion)
    if before and log.adopted(build.log, before):
        comparisons = [
            gate.of_unknown_rows(each) if each.name in {"champion", "proven"} else each for each in comparisons
        ]
    comparisons += serving.conditions(build, servable=servable, max_size_mb=max_size_mb, max_latency_ms=max_latency_ms)
    if gone := log.rolled_back(build.log):
        comparisons.append(gate.not_rolled_back(was_rolled_back=challenger in gone))
    verdict = gate.decide(challenger, before, comparisons)

    decision = {
        "decision": verdict,
        "challenger": challenger,
        "champion_before": before,
        "metric": metric,
        "comparisons": [asdict(comparison) for comparison in comparisons],
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
    }


def _compare(
    pipeline: str,
    metrics: Mapping[str, Any],
    same_rows: SameRows | None,
    metric: str,
    floor: float | None,
    above_baseline: float | None,
    below_champion: float | None,
) -> list[gate.Comparison]:
    comparisons = []
    if floor is not None:
        comparisons.append(gate.at_least_floor(metric, metrics[metric], floor))
    if above_baseline is not None:
        comparisons.append(gate.above_baseline(metric, metrics[metric], metrics["baseline"][metric], above_baseline))
    if same_rows and below_champion is not None:
        if same_rows.challenger and same_rows.champion:
            new, old = same_rows.challenger[metric], same_rows.champion[metric]
            comparisons.append(gate.not_below_champion(metric, new, old, below_champion, same_rows.rows))
        else:
            comparisons.append(_incomparable(pipeline, same_rows.reason))
    return comparisons


def _proven(
    pipeline: str, same_rows: SameRows, metric: str, promote_if: str, margin: float | None, below: float | None
) -> list[gate.Comparison]:
    """What the interval of the difference proves; without a comparison nothing, which may be said already."""
    from assets.evaluation.intervals import paired_difference

    if not same_rows.champion:
        return [] if below is not None else [_incomparable(pipeline, same_rows.reason)]
    true, new, old = same_rows.codes
    gone = [label for at, label in enumerate(same_rows.labels) if at not in set(true)]
    if gone and metric != "accuracy":
        # An average that counts such a label 0 for both would make every loss look smaller than it is.
        return [_incomparable(pipeline, f"no row of {', '.join(gone)} is left that it was not trained on")]
    found = paired_difference(metric, true, new, old, len(same_rows.labels), gate.LEVELS[promote_if])
    margin = gate.MARGINS[promote_if] if margin is None else margin
    return [gate.proven(metric, found, promote_if, margin, same_rows.rows)]


def _incomparable(pipeline: str, reason: str) -> gate.Comparison:
    refused = gate.champion_incomparable(reason)
    return replace(refused, message=f"{refused.message}: `freshtune models {pipeline} promote VERSION`")


def _against(build: Build, champion: str, metrics: Mapping[str, Any]) -> SameRows:
    """Compare with the champion; one that the store lost cannot be compared, and must not stop every later run.

    Nor is it replaced by itself: a fault of a disk must not change which model is in use.
    """
    try:
        return _on_same_rows(build, champion, metrics)
    except DamagedError as error:
        back = f"after bringing it back from a backup, run `freshtune run {build.pipeline} --force release`"
        return SameRows(0, 0, f"the store has lost what belongs to it ({error.what}; {back})")


def _on_same_rows(build: Build, champion: str, metrics: Mapping[str, Any]) -> SameRows:
    """Score both models on the test rows that the champion was not trained on."""
    import pyarrow.parquet as pq

    from assets.tasks.classification import metrics as measure

    assert build.stored is not None
    assert build.variant is not None
    labels = metrics["confusion"]["labels"]
    known = _read_json(build.stored(champion) / "model" / "config.json")["id2label"].values()
    if set(known) != set(labels):
        return SameRows(0, 0, _other_labels(list(known), labels))

    columns = ["row_id", "label", "predicted"]
    new = pq.read_table(build.inputs["evaluation"] / "predictions.parquet", columns=columns).to_pydict()
    seen = _trained_on(build, champion).intersection(new["row_id"])
    kept = [index for index, row_id in enumerate(new["row_id"]) if row_id not in seen]
    if not kept:
        return SameRows(0, len(seen), f"it was trained on all {len(seen):,} test rows")

    folder = build.variant("evaluation", {"model": champion})
    old = pq.read_table(folder / "predictions.parquet", columns=columns).to_pydict()
    assert old["row_id"] == new["row_id"], "two evaluations on one test set have the same rows"
    true, challenger_says, champion_says = (
        [column[index] for index in kept] for column in (new["label"], new["predicted"], old["predicted"])
    )
    differ = [(a == t, b == t) for t, a, b in zip(true, challenger_says, champion_says, strict=True) if a != b]
    return SameRows(
        rows=len(kept),
        seen=len(seen),
        challenger=_of_present_labels(measure(true, challenger_says, labels)),
        champion=_of_present_labels(measure(true, champion_says, labels)),
        only_challenger=differ.count((True, False)),
        only_champion=differ.count((False, True)),
        both_wrong_differently=differ.count((False, False)),
        codes=_codes(labels, true, challenger_says, champion_says),
        labels=tuple(labels),
    )


def _codes(
    labels: Sequence[str], true: Sequence[str], new: Sequence[str], old: Sequence[str]
) -> tuple[list[int], list[int], list[int]]:
    number = {label: at for at, label in enumerate(labels)}
    return [number[each] for each in true], [number[each] for each in new], [number[each] for each in old]


def _other_labels(known: Sequence[str], labels: Sequence[str]) -> str:
    """Why a champion that knows other labels is not compared: on rows of a label that it never learned it must lose."""
    new = ", ".join(label for label in labels if label not in known)
    gone = ", ".join(label for label in known if label not in labels)
    never = f"it never learned {new}" if new else ""
    no_more = f"the task has {gone} no more" if gone else ""
    return f"it answers with other labels ({', '.join(known)}): {' and '.join(filter(None, (never, no_more)))}"


def _of_present_labels(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Metrics with macro averages over the labels that have rows; the others would pull both models down alike."""
    present = [scores for scores in metrics["per_class"].values() if scores["support"]]
    averages = {f"{name}_macro": fmean(scores[name] for scores in present) for name in ("precision", "recall", "f1")}
    return {"accuracy": metrics["accuracy"], **averages}


def _trained_on(build: Build, model: str) -> set[str]:
    """Row ids of what is like rows that a model was trained on or chosen by, in any of the splits that it came out of.

    Like a row are its text – a further column gives a row another identifier – and what is in a group with it now. The
    rule of the splits keeps such rows out of the test set; another rule than the one of that time does not.
    """
    import pyarrow.compute as pc

    from assets.splits.rows import read_side, read_test_groups

    assert build.stored is not None
    near = read_test_groups(build.inputs["splits"])
    groups: set[str] = set()
    for digest in dict.fromkeys(fields["inputs"]["splits"] for fields in log.decisions(build.log, model)):
        for side in ("train", "validation"):
            known = read_side(build.stored(digest), side)
            same = [pc.is_in(near[name], value_set=known[name]) for name in ("row_id", "text")]
            groups.update(near["group"].filter(pc.or_(*same)).to_pylist())
    pairs = zip(near["row_id"].to_pylist(), near["group"].to_pylist(), strict=True)
    return {row_id for row_id, group in pairs if group in groups}


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
