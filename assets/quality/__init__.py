"""The champion's quality on newly labelled data: batch by batch, on rows that it was not made from.

A batch is the rows that came in between two looks: the step knows from its last result which splits it saw since the
champion was made; where there is none, it goes by the decisions of the gate. The alarm stands when at least `failing`
of the last `batches` batches, the newest among them, lie below the floor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assets.release import log
from assets.store.step import Check, LogEntry, Measurements, Outcome, Step

CHECK = "champion_holds"
"""Name of the check that fails while the alarm stands."""


def champion(
    entries: Sequence[LogEntry], inputs: Mapping[str, str], stood: Measurements | None
) -> dict[str, tuple[str, ...]]:
    """What the step reads of the promotion log: the champion, the splits that it was made from, and those after them.

    `champion` is the model, as `assets.drift` finds it; `champion_evaluation` says how its scores become answers;
    `later_splits` are those that were seen since, in their order,
    without those that stand now.
    """
    model = log.outgrown(entries, inputs["splits"])
    if model is None:
        return {"champion": (), "champion_evaluation": (), "champion_splits": (), "later_splits": ()}
    decided = [entry.fields for entry in entries if entry.fields["kind"] == "decision"]
    made_from = dict.fromkeys(fields["inputs"]["splits"] for fields in decided if fields["challenger"] == model)
    if stood is not None and stood["champion"] == model:
        seen = stood["seen"]
        later = seen["before"] if seen["splits"] == inputs["splits"] else seen["after"]
    else:
        first = next(at for at, fields in enumerate(decided) if fields["challenger"] == model)
        later = dict.fromkeys(fields["inputs"]["splits"] for fields in decided[first:])
    others = tuple(splits for splits in later if splits not in {*made_from, inputs["splits"]})
    evaluation = log.evaluation(entries, model)
    return {
        "champion": (model,),
        "champion_evaluation": () if evaluation is None else (evaluation,),
        "champion_splits": tuple(made_from),
        "later_splits": others,
    }


def _holds(measurements: Measurements, _config: Any) -> Outcome:
    if measurements["reason"]:
        return Outcome(passed=True, message=f"nothing to measure: {measurements['reason']}")
    batches = measurements["batches"]
    newest = batches[-1]
    message = (
        f"{measurements['metric']} of champion {measurements['champion'][:12]} is {newest['value']:.4f} on the newest "
        f"{newest['rows']:,} rows; below {measurements['floor']:.4f} are {measurements['below']} of the last "
        f"{len(batches)} batches, an alarm from {measurements['failing']} with the newest among them"
    )
    values = {"value": newest["value"], "low": newest["low"], "high": newest["high"], "below": measurements["below"]}
    return Outcome(not measurements["alarm"], message, values, warning=True)


STEP = Step(
    name="quality",
    description="Scores the champion on newly labelled rows that it was not made from, batch by batch.",
    function="assets.quality.measure:measure",
    inputs=("splits",),
    wanted=lambda config: config.quality is not None,
    configuration=("task.labels", "gate.metric", "quality"),
    promoted=champion,
    environment=("torch", "transformers", "tokenizers", "scipy", "numpy", "pyarrow:major"),
    checks=(Check(CHECK, "The champion's metric on newly labelled rows does not stay below `quality.floor`.", _holds),),
    kinds=("pytorch", "scipy"),
)
