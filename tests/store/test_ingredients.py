"""Versions of libraries in a key."""

from __future__ import annotations

import importlib.metadata

import pytest

from assets.errors import ConfigurationError
from assets.store.ingredients import versions


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
