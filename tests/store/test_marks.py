from __future__ import annotations

import os
from pathlib import Path

import pytest

from assets.progress import Progress
from assets.store.marks import Marks
from assets.store.storage import Listed
from tests.store.results import build, opened


def test_a_reference_that_is_replaced_at_the_same_time_is_read_again(tmp_path: Path) -> None:
    store = opened("local", tmp_path)
    first, second = build(store, "1"), build(store, "2")
    path = tmp_path / "store" / "references" / "default" / "p" / "step.json"
    old = [Listed("manifest.json", 1, 0.0)]
    with store.lease("gc", pytest.fail, []):
        # The records themselves are gone: only the reference marks.
        store.storage.remove("records")
        marks = Marks(store.storage)
        assert marks.read_records(50, Progress("store")) == {}
        store.refer("default", "p", "step", first)
        marks.look()
        assert [marks.spares("objects", each.content, old) for each in (first, second)] == [True, False]
        before = path.stat()
        store.refer("default", "p", "step", second)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.stat().st_size == before.st_size
        marks.look()
        assert marks.spares("objects", second.content, old)
