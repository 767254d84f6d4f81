"""Release: the gate decides about the challenger, the promotion log keeps it, MLflow is brought in line with the log.

- `decide` compares (`gate`) and says why: `decision.json`, `card.md`, and in the trace `report.html`.
- `serving` loads the saved model in a clean process, and measures size and latency.
- `log` reads the promotion log and makes the entries of a person: promote, rollback, adopt.
- `registry` makes one MLflow model version for each challenger and sets the aliases; `by_hand` says what somebody
  changed there; `webhook` tells of a model that came into use.
- `adopt` takes a model from elsewhere; `lineage` says where one came from, `difference` what two have not in common.
"""

from __future__ import annotations

from assets.release.checks import CHECKS
from assets.store.step import Step

STEP = Step(
    name="release",
    description=(
        "The gate: compares the challenger with the floor, the baseline and the champion on the same test rows, "
        "appends the decision to the promotion log, and registers the model in MLflow."
    ),
    function="assets.release.decide:decide",
    inputs=("splits", "model", "evaluation"),
    configuration=(
        "gate.metric",
        "gate.floor",
        "gate.above_baseline",
        "gate.below_champion",
        "gate.promote_if",
        "gate.margin",
        "gate.servable",
        "gate.max_size_mb",
        "gate.max_latency_ms",
    ),
    decides=True,
    settle="assets.release.registry:settle",
    settles_by=("registry.webhook", "registry.webhook_secret"),
    checks=CHECKS,
    kinds=("mlflow", "html"),
)
