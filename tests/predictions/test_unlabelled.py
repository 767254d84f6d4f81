"""Which files are looked at, and how their errors are said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assets.errors import ConfigurationError, DataError
from assets.predictions.unlabelled import observe, renamed
from assets.store.digests import digest_file
from assets.store.index import FileIndex
from assets.store.step import Observation
from tests.config.test_pipeline import make


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "inbox").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def look(*files: str, **more: Any) -> Observation:
    config = make(predictions={"source": {"files": files, **more}})
    return observe(config, FileIndex(Path("index.json")))["unlabelled"]


def test_files_are_seen_once_in_the_order_of_their_names(root: Path) -> None:
    for name in ("b.csv", "a.csv"):
        (root / "inbox" / name).write_text(name)
    seen = look("inbox/b.csv", "inbox/*.csv")
    assert [(file.name, file.sha256) for file in seen.files] == [
        (f"inbox/{name}", digest_file(root / "inbox" / name)) for name in ("a.csv", "b.csv")
    ]
    assert (seen.kind, seen.location) == ("source", "inbox/b.csv, inbox/*.csv")
    (root / "inbox" / "a.csv").write_text("else")
    assert look("inbox/b.csv", "inbox/*.csv").digest != seen.digest


def test_a_pattern_may_match_nothing_yet_and_a_name_may_not(root: Path) -> None:
    assert look("inbox/*.csv").files == ()
    with pytest.raises(ConfigurationError, match=r"^predictions.source.files: 'inbox/a.csv' does not exist"):
        look("inbox/a.csv")


def test_errors_name_the_fields_of_this_source() -> None:
    with pytest.raises(DataError) as raised, renamed():
        raise DataError("x.csv says source.csv", where="source.files", fix="set source.format or my.source.format")
    assert raised.value.where == "predictions.source.files"
    assert raised.value.fix == "set predictions.source.format or my.source.format"
