"""Fixtures of the tests of the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from assets.store.store import Store
from tests.store.results import opened


@pytest.fixture(params=["local", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return opened(request.param, tmp_path)
