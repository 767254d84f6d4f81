"""Migration of a store of an earlier format to the present one."""

from __future__ import annotations

import json

from assets.errors import StoreError
from assets.progress import Progress, Sink, discard
from assets.store import store as stored
from assets.store.digests import canonical_json
from assets.store.lease import lease
from assets.store.storage import Storage, open_storage


def migrate(url: str, *, sink: Sink = discard) -> tuple[int, int]:
    """Bring a store to the present format, one format after another.

    Args:
        url: folder or fsspec URL of the store.
        sink: takes progress events.

    Returns:
        Format before and after.

    Raises:
        StoreError: if there is no store, or its format is newer or there is no way from it.
    """
    storage = open_storage(url)
    progress = Progress("store", sink)
    before = _format(storage, url)
    with lease(storage, "migrate", progress.message, []):
        # Another process may have done it while this one waited.
        while (found := _format(storage, url)) != stored.FORMAT:
            if found not in stored.MIGRATIONS:
                raise StoreError(
                    f"there is no way from format {found} to format {stored.FORMAT}",
                    where=url,
                    fix="use the version of freshtune that wrote it, or point FRESHTUNE_STORE at another folder",
                )
            progress.message(f"from format {found} to format {found + 1}")
            stored.MIGRATIONS[found](storage)
            storage.replace("format.json", canonical_json({"format": found + 1}))
    return before, stored.FORMAT


def _format(storage: Storage, url: str) -> int:
    try:
        return int(json.loads(storage.read("format.json"))["format"])
    except FileNotFoundError:
        raise StoreError("there is no store here", where=url, fix="point FRESHTUNE_STORE at the store") from None
