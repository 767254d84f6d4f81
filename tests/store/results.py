"""Results in a store, without a chain that makes them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assets.store.digests import canonical_json
from assets.store.store import Kind, Record, Store


def opened(kind: str, base: Path) -> Store:
    url = str(base / "store") if kind == "local" else f"memory://{uuid.uuid4().hex}"
    return Store(url, base / "cache")


def publish(store: Store, text: str, kind: Kind = "objects") -> str:
    with store.staged() as folder:
        (folder / "it" / "sub").mkdir(parents=True)
        (folder / "it" / "sub" / "a.txt").write_text(text)
        (folder / "it" / "b.txt").write_text(text)
        return store.publish(kind, folder / "it")


def build(
    store: Store,
    name: str,
    *,
    step: str = "step",
    inputs: tuple[str, ...] = (),
    content: str = "",
    configuration: Mapping[str, Any] | None = None,
) -> Record:
    """Publish content and trace under a key of their own."""
    record = Record(
        key=(name.encode().hex() * 64)[:64],
        content=publish(store, content or f"content {name}"),
        trace=publish(store, f"trace {name}", "traces"),
        ingredients={"step": step, "inputs": dict(enumerate(inputs)), "configuration": configuration or {}},
        files={},
        seconds=1.0,
        time=0.0,
        by="me",
    )
    record = json.loads(canonical_json(record.__dict__))
    return store.add_record(Record(**record), after=None)


def there(store: Store, record: Record) -> bool:
    """Whether a result is wholly there; if not, that nothing of it is, but what others share."""
    if store.record(record.key) is None:
        assert store.fault("traces", record.trace) is not None
        return False
    assert store.whole(record)
    return True
