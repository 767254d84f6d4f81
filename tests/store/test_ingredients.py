"""What a key is made of: versions of libraries, and what of the configuration."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace

import pytest

from assets.config.pipeline import Pipeline
from assets.errors import ConfigurationError
from assets.store.ingredients import Made, arguments_of, made_of, versions
from assets.store.step import Step


def test_versions_are_cut_to_what_is_declared() -> None:
    whole = importlib.metadata.version("pyarrow").split(".")
    assert versions(["pyarrow"]) == {"pyarrow": ".".join(whole)}
    assert versions(["pyarrow:minor"]) == {"pyarrow": ".".join(whole[:2])}
    assert versions(["pyarrow:major"]) == {"pyarrow": whole[0]}


def test_a_library_that_is_not_installed_is_named() -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"environment: the configuration asks for no-such-library, which is not installed.*\n  fix: pip install",
    ):
        versions(["no-such-library:minor"])


def test_how_the_machine_is_used_is_no_part_of_a_key() -> None:
    step = Step("model", "trains", "tests.store.test_ingredients:test", configuration=("task.labels", "training"))

    def key(**training: object) -> Made:
        config = Pipeline.model_validate(
            {
                "task": {"labels": ["a", "b"]},
                "source": {"files": ["a.csv"]},
                "base_model": {"name": "base"},
                "training": training,
            }
        )
        assert arguments_of(step, config, None)["devices"] == ("training.devices", training.get("devices"))
        return made_of(replace(step, decides=True), config, None, {}, {})

    assert key(devices=2).ingredients == key().ingredients
    assert key(epochs=2).ingredients != key().ingredients
