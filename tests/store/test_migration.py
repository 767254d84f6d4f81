from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from assets.errors import StoreError
from assets.store import store as stored
from assets.store.migration import migrate
from assets.store.storage import Storage
from assets.store.store import Store


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.fixture
def next_format(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[int, Callable[[Storage], None]]]:
    """This version reads format 3; one can come from 1 and 2."""
    made: dict[int, Callable[[Storage], None]] = {
        1: lambda storage: storage.replace("two.json", b"2"),
        2: lambda storage: storage.replace("three.json", storage.read("two.json") + b"3"),
    }
    with monkeypatch.context() as patch:
        patch.setattr(stored, "FORMAT", 3)
        patch.setattr(stored, "MIGRATIONS", made)
        yield made


def older(tmp_path: Path) -> str:
    (tmp_path / "format.json").write_text('{"format": 1}')
    return str(tmp_path)


@pytest.mark.usefixtures("next_format")
def test_a_store_of_an_earlier_format_is_brought_to_the_present_one(tmp_path: Path) -> None:
    url = older(tmp_path)
    with pytest.raises(StoreError, match="has format 1; this version.*format 3\n.*`freshtune store migrate`"):
        Store(url, tmp_path / "cache")
    assert migrate(url) == (1, 3)
    assert (tmp_path / "three.json").read_bytes() == b"23"
    assert Store(url, tmp_path / "cache").record("ab" * 32) is None
    assert migrate(url) == (3, 3)


def test_a_killed_migration_goes_on_from_the_format_that_was_reached(
    tmp_path: Path, next_format: dict[int, Callable[[Storage], None]]
) -> None:
    url = older(tmp_path)

    def die(_: Storage) -> None:
        raise Killed

    second, next_format[2] = next_format[2], die
    with pytest.raises(Killed):
        migrate(url)
    assert json.loads((tmp_path / "format.json").read_text()) == {"format": 2}
    next_format[2] = second
    assert migrate(url) == (2, 3)


def test_there_is_no_way_from_a_newer_or_an_unknown_format(
    tmp_path: Path, next_format: dict[int, Callable[[Storage], None]]
) -> None:
    url = older(tmp_path)
    del next_format[2]
    with pytest.raises(StoreError, match="use the version of freshtune that wrote it"):
        Store(url, tmp_path / "cache")
    (tmp_path / "format.json").write_text('{"format": 99}')
    with pytest.raises(StoreError, match="no way from format 99 to format 3"):
        migrate(url)
    with pytest.raises(StoreError, match="there is no store here"):
        migrate(str(tmp_path / "nothing"))
