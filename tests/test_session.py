"""How a pipeline is opened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from assets.session import open_runner


@pytest.mark.parametrize(("given", "found"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_wait_passively_unless_a_person_says_otherwise(
    given: str | None, found: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FRESHTUNE_HOME", str(tmp_path))
    # Set first, so that what `open_runner` leaves is undone even where there was nothing before.
    monkeypatch.setenv("OMP_WAIT_POLICY", given or "")
    if given is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    open_runner("sms_spam")
    assert os.environ["OMP_WAIT_POLICY"] == found
