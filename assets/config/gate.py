"""What a challenger must achieve to become the champion."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from assets.config.section import Section

MetricName = Literal["accuracy", "f1_macro", "precision_macro", "recall_macro"]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Gate(Section):
    """What a challenger must achieve to become the champion. Each part may be null."""

    metric: MetricName = "f1_macro"
    """Metric of the comparisons, on the test set."""
    floor: Share | Annotated[dict[MetricName, Share], Field(min_length=1)] | None = None
    """Least value of the metric; or of several, as `{accuracy: 0.9, recall_macro: 0.8}`."""
    above_baseline: Annotated[float, Field(ge=-1.0, le=1.0)] | None = 0.0
    """Least difference to the baseline on the same rows."""
    below_champion: Share | None = 0.0
    """How much worse than the champion on the same rows it may be."""
    promote_if: Literal["better", "not_worse"] | None = None
    """What must be proven against the champion on the same rows, or null: nothing beyond `below_champion`. `better`:
    the 95 % interval of the difference lies above `margin`; `not_worse`: the 90 % interval above minus `margin`."""
    margin: Share | None = None
    """Margin of `promote_if`; null: 0 for `better`, 0.01 for `not_worse`."""
    reference: bool = True
    """Whether the same is asked against the last champion that a person put in use, else the first: so many small
    losses do not add up."""
    slices: bool = True
    """Whether to refuse a challenger that is significantly less accurate than the champion on any slice of
    the evaluation (McNemar's exact test, 5 %, corrected by Holm)."""
    max_ece: Share | None = None
    """Largest expected calibration error on the test set, after calibration."""
    servable: bool | None = None
    """Whether the saved model must load in a clean process, by transformers alone, and answer as recorded on up to 200
    test rows. Takes about 10 seconds."""
    max_size_mb: Annotated[float, Field(gt=0.0)] | None = None
    """Most MB (10^6 bytes) that the saved model may have."""
    max_latency_ms: Annotated[float, Field(gt=0.0)] | None = None
    """Most milliseconds that a single row may take, in 95 % of the rows, on the machine that runs the gate."""
    promotion: Literal["automatic", "manual"] = "automatic"
    """What becomes of a challenger that meets every condition: it is the champion, or waits for a person."""

    @model_validator(mode="after")
    def _margin_of_something(self) -> Self:
        if self.margin is not None and self.promote_if is None:
            raise ValueError("margin belongs to promote_if, which is not set; fix: set it, or leave margin out")
        return self
