"""Two models on the same test rows, of which neither has seen one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from assets.errors import DamagedError, DataError
from assets.model.rows import ancestors_in
from assets.release import log
from assets.store.step import Build

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class SameRows:
    """Challenger and another model on the test rows that the other was not trained on and whose label both know.

    Attributes:
        rows: rows compared.
        seen: test rows left out, because the other model was trained on them or chosen by them.
        reason: why there is no comparison, or "".
        challenger: the challenger's metrics on these rows; empty without a comparison.
        champion: the other model's metrics on these rows; empty without a comparison.
        only_challenger: rows that only the challenger answers correctly.
        only_champion: rows that only the other model answers correctly.
        both_wrong_differently: rows that both answer wrongly, and not the same.
        codes: label, the challenger's and the other model's answer of each row, as numbers.
        labels: names of the labels that both know, in the order of their numbers; further numbers are of labels that
            only the challenger knows.
        row_ids: of the rows compared, in the order of `codes`.
        slices: names of the slices of each of these rows; empty where none are declared.
        said: what is to be said of the labels that only one of the two knows, or "".
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
    row_ids: tuple[str, ...] = ()
    slices: tuple[tuple[str, ...], ...] = ()
    said: str = ""

    @property
    def flips(self) -> dict[str, Any]:
        """Where the two answer differently; `rows` are those that only the other model answers correctly."""
        lost = [at for at, (true, new, old) in enumerate(zip(*self.codes, strict=True)) if old == true != new]
        return {
            "only_challenger": self.only_challenger,
            "only_champion": self.only_champion,
            "both_wrong_differently": self.both_wrong_differently,
            "rows": [self.row_ids[at] for at in lost],
        }


def on_same_rows(build: Build, model: str, labels: Sequence[str]) -> SameRows:
    """Compare with another model; one that is lost or cannot be loaded any more must not stop every later run.

    Nor is it replaced by itself: a fault of a disk must not change which model is in use.

    Args:
        build: inputs `splits` and `evaluation`, the promotion log, and what a step that decides is given.
        model: content digest of the other model.
        labels: of the task.
    """
    try:
        return _on_same_rows(build, model, labels)
    except DamagedError as error:
        back = f"after bringing it back from a backup, run `freshtune run {build.pipeline} --force release`"
        return SameRows(0, 0, f"the store has lost what belongs to it ({error.what}; {back})")
    except DataError as error:
        # As after an upgrade of transformers. Challengers were scored already, so it is not for them.
        return SameRows(0, 0, f"it cannot be scored any more ({error.what.splitlines()[0]})")


def _on_same_rows(build: Build, model: str, labels: Sequence[str]) -> SameRows:
    import pyarrow.parquet as pq

    from assets.tasks.classification import metrics as measure

    assert build.stored is not None
    assert build.variant is not None
    config = json.loads((build.stored(model) / "model" / "config.json").read_text(encoding="utf-8"))
    known = list(config["id2label"].values())
    common = [label for label in labels if label in known]
    if not common:
        return SameRows(0, 0, f"it knows none of the task's labels: it answers with {', '.join(known)}")

    new = pq.read_table(build.inputs["evaluation"] / "predictions.parquet").to_pydict()
    seen = _seen(build, model).intersection(new["row_id"])
    unseen = [at for at, row_id in enumerate(new["row_id"]) if row_id not in seen]
    if not unseen:
        return SameRows(0, len(seen), f"it was trained on all {len(seen):,} test rows")
    kept = [at for at in unseen if new["label"][at] in common]
    if not kept:
        return SameRows(0, len(seen), f"none of the {len(unseen):,} test rows that it has not seen has a label of its")

    old = pq.read_table(build.variant("evaluation", {"model": model}) / "predictions.parquet").to_pydict()
    assert old["row_id"] == new["row_id"], "two evaluations on one test set have the same rows"
    true, says, other = ([column[at] for at in kept] for column in (new["label"], new["predicted"], old["predicted"]))
    differ = [(a == t, b == t) for t, a, b in zip(true, says, other, strict=True) if a != b]
    order = [*common, *(label for label in labels if label not in common)]
    number = {label: at for at, label in enumerate(order)}
    return SameRows(
        rows=len(kept),
        seen=len(seen),
        challenger=_of_present_labels(measure(true, says, order)),
        champion=_of_present_labels(measure(true, other, order)),
        only_challenger=differ.count((True, False)),
        only_champion=differ.count((False, True)),
        both_wrong_differently=differ.count((False, False)),
        codes=([number[each] for each in true], [number[each] for each in says], [number[each] for each in other]),
        labels=tuple(common),
        row_ids=tuple(new["row_id"][at] for at in kept),
        slices=tuple(tuple(new["slices"][at]) for at in kept) if "slices" in new else (),
        said=_of_labels(known, labels, len(unseen) - len(kept)),
    )


def _of_labels(known: Sequence[str], labels: Sequence[str], left_out: int) -> str:
    """What the labels that only one of both knows do to the comparison."""
    new = ", ".join(label for label in labels if label not in known)
    gone = ", ".join(label for label in known if label not in labels)
    never = f"it never learned {new}: {left_out:,} rows of that are left out" if new else ""
    no_more = f"the task has {gone} no more: it is asked for the likeliest of the others" if gone else ""
    return "; ".join(filter(None, (never, no_more)))


def _of_present_labels(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Metrics with macro averages over the labels that have rows; the others would pull both models down alike."""
    present = [scores for scores in metrics["per_class"].values() if scores["support"]]
    averages = {f"{name}_macro": fmean(scores[name] for scores in present) for name in ("precision", "recall", "f1")}
    return {"accuracy": metrics["accuracy"], **averages}


def _seen(build: Build, model: str) -> set[str]:
    """Row ids of what is like rows that a model was trained on or chosen by, in any of the splits that it came out of.

    Like a row are its text – a further column gives a row another identifier – and what is in a group with it now, or
    was then. The rule of the splits keeps such rows out of the test set; another rule than the one of that time
    does not.
    """
    from assets.splits.rows import alike, read_groups

    near = read_groups(build.inputs["splits"], "test")
    groups: set[str] = set()
    for known in _trained_on(build, model):
        groups.update(near["group"].filter(alike(near, known)).to_pylist())
    pairs = zip(near["row_id"].to_pylist(), near["group"].to_pylist(), strict=True)
    return {row_id for row_id, group in pairs if group in groups}


def overlap(build: Build, model: str | None, row_ids: Sequence[str]) -> int:
    """How many of some test rows a model has seen after all, by identifier, text or group; 0 is what is to be proven.

    Args:
        build: as for `on_same_rows`.
        model: content digest; None is the challenger, made from the splits that stand now.
        row_ids: of the rows that were compared.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from assets.splits.rows import alike, read_groups

    near = read_groups(build.inputs["splits"], "test")
    rows = near.filter(pc.is_in(near["row_id"], value_set=pa.array(row_ids, pa.string())))
    found: set[str] = set()
    for known in _trained_on(build, model):
        found.update(rows["row_id"].filter(alike(rows, known)).to_pylist())
    return len(found)


def _trained_on(build: Build, model: str | None) -> Iterator[pa.Table]:
    """Rows that a model was trained on or chosen by, or one that it was started from, side by side."""
    from assets.splits.rows import read_side

    assert build.stored is not None
    if model is None:
        content, own = build.inputs["model"], []
    else:
        content, own = build.stored(model), [fields["inputs"]["splits"] for fields in log.decisions(build.log, model)]
    before = [log.stands(build.log, digest) for each in ancestors_in(content) for digest in each["splits"]]
    folders = [build.stored(digest) for digest in dict.fromkeys([*own, *before])]
    for folder in [build.inputs["splits"], *folders] if model is None else folders:
        for side in ("train", "validation"):
            yield read_side(folder, side)
