"""The chain: every step, in the order in which data flow. The one place where the order is written."""

from __future__ import annotations

from assets import cleaned, evaluation, model, raw, release, splits, validated

CHAIN = (raw.STEP, validated.STEP, cleaned.STEP, splits.STEP, model.STEP, evaluation.STEP, release.STEP)
