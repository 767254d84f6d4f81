"""Remembered pieces of code: right after whatever change, and had without parsing while there is none."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from assets.store import code
from assets.store.code_index import code_pieces
from assets.store.index import RACY_SECONDS


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FRESHTUNE_HOME", str(tmp_path / "home"))
    folder = tmp_path / "assets"
    (folder / "raw").mkdir(parents=True)
    (folder / "raw" / "read.py").write_text("def one():\n    return 1\n\n\ndef two():\n    return 2\n")
    return folder


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is so far on that no file was changed lately."""
    now = time.time_ns() + int(2 * RACY_SECONDS * 1e9)
    monkeypatch.setattr(time, "time_ns", lambda: now)


def parsed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Roots for which code is parsed from now on."""
    asked: list[list[str]] = []
    parse = code.code_pieces

    def parsing(roots: list[str], root: Path) -> dict[str, str]:
        asked.append(list(roots))
        return parse(roots, root)

    monkeypatch.setattr(code, "code_pieces", parsing)
    return asked


@pytest.mark.usefixtures("settled")
def test_what_did_not_change_is_not_parsed_again(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = parsed(monkeypatch)
    one, two = (["assets.raw.read:one"], ["assets.raw.read:two"])
    first = code_pieces(one, package), code_pieces(two, package)
    assert (code_pieces(one, package), code_pieces(two, package)) == first
    assert set(first[0]) == {"assets.raw.read.one"}
    assert asked == [one, two]


def rewrite(file: Path) -> None:
    """Same size, same time of the last write."""
    before = file.stat()
    file.write_text(file.read_text().replace("return 1", "return 3"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize(
    "change",
    [
        rewrite,
        lambda file: file.write_text(f"{file.read_text()}\n\ndef one():\n    return 4\n"),
        lambda file: (file.parent / "__init__.py").write_text("print('loaded')\n"),
    ],
    ids=["a byte, the time set back", "a function", "a new file"],
)
def test_every_change_is_seen(package: Path, change: Callable[[Path], object]) -> None:
    roots = ["assets.raw.read:one"]
    before = code_pieces(roots, package)
    change(package / "raw" / "read.py")
    after = code_pieces(roots, package)
    assert after == code.code_pieces(roots, package) != before


def test_what_was_changed_just_now_is_not_remembered(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = parsed(monkeypatch)
    for _ in range(2):
        code_pieces(["assets.raw.read:one"], package)
    assert len(asked) == 2


@pytest.mark.usefixtures("settled")
def test_a_torn_memory_costs_only_time(package: Path, tmp_path: Path) -> None:
    roots = ["assets.raw.read:one"]
    first = code_pieces(roots, package)
    memory = tmp_path / "home" / "cache" / "code.json"
    memory.write_bytes(memory.read_bytes()[:-9])
    assert code_pieces(roots, package) == first
