"""The declaration of the step."""

from __future__ import annotations

from assets import model, search


def test_all_that_a_training_reads_counts_for_the_search() -> None:
    assert set(search.STEP.inputs) == set(model.STEP.inputs) - {"search"}
    assert set(search.STEP.configuration) == {*model.STEP.configuration, "search"}
    assert set(search.STEP.environment) == {*model.STEP.environment, "optuna"}
    assert (search.STEP.externals, search.STEP.accelerator) == (model.STEP.externals, model.STEP.accelerator)
