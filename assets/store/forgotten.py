"""Texts that are forgotten: keyed hashes in the store, which keep a text out when a source brings it again.

- `forgotten/00000000.json`: a request, written before anything is removed: `hashes`, `ids`, `key`, `who`, `when`, `why`
- `forgotten/00000000.done.json`: its certificate, written when everything is removed

They are the store's, not a pipeline's: pipelines and environments share objects, so a text that is to go must not come
back through another one. An id (`cleaning.id`) means something in one pipeline alone, so hashes of ids are that
pipeline's: they keep out a row that is brought again with a changed text. The secret key of the hashes is not in the
store, since whoever had both could try texts.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.errors import ConfigurationError, StoreError
from assets.store.digests import canonical_json, digest_json
from assets.store.step import Observation
from assets.store.store import Store

FOLDER = "forgotten"
KEY = "forget.key"
"""File in `FRESHTUNE_HOME` with the secret key, 64 hexadecimal digits."""
_KEY_BYTES = 32


@dataclass(frozen=True)
class Request:
    """A request to forget texts.

    Attributes:
        number: 0, 1, 2, … in the store.
        fields: `hashes` (sorted), `ids` (sorted, each `COLUMN=HASH`; earlier requests have none), `key` (what the
            secret key is called), `by`, `when`, `why`, `pipeline`.
        certificate: what was removed; None as long as not everything is.
    """

    number: int
    fields: Mapping[str, Any]
    certificate: Mapping[str, Any] | None

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.number:08d}"


def form(text: str) -> str:
    """The normal form that a hash is taken of: NFKC, runs of white space as one space, none at the ends.

    It depends on no setting, so that a changed setting of `cleaning` lets nothing in again.
    """
    return " ".join(unicodedata.normalize("NFKC", text).split())


def hash_of(text: str, key: bytes) -> str:
    """Keyed hash of a text's normal form: HMAC-SHA256, 64 hexadecimal digits."""
    return hmac.new(key, form(text).encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def hash_of_id(column: str, value: str, key: bytes) -> str:
    """`COLUMN=HASH`: keyed hash of an id that a row keeps when it is corrected, without white space at its ends."""
    said = canonical_json([column, value.strip()])
    return f"{column}={hmac.new(key, said, hashlib.sha256).hexdigest()}"


def called(key: bytes) -> str:
    """What a key is called, so that another one is noticed: it tells nothing of the key."""
    return hmac.new(key, b"freshtune", hashlib.sha256).hexdigest()[:16]


def make_key(home: Path) -> bytes:
    """The secret key of this machine, made now if there is none; only its owner can read it."""
    path = home / KEY
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{KEY}.{secrets.token_hex(8)}")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        # Of two at once the first stands.
        with suppress(FileExistsError):
            os.link(part, path)
        part.unlink()
    return _read(path)


def key_called(home: Path, name: str) -> bytes:
    """The secret key that hashes of a store were made with.

    Args:
        home: `FRESHTUNE_HOME`.
        name: what the key is called.

    Raises:
        ConfigurationError: it is not there, or another one is: what was forgotten could come back unnoticed.
    """
    path = home / KEY
    fix = f"copy {KEY} from the machine that forgot rows of this store, or from its backup, to {path}"
    if not path.exists():
        raise ConfigurationError(
            f"the store has forgotten texts, and the secret key {name} that tells them is not here",
            where=str(path),
            fix=fix,
        )
    key = _read(path)
    if called(key) != name:
        raise ConfigurationError(
            f"it is key {called(key)}, and the forgotten texts of the store are told by key {name}",
            where=str(path),
            fix=fix,
        )
    return key


def _read(path: Path) -> bytes:
    text = path.read_text(encoding="ascii", errors="replace").strip()
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise ConfigurationError(
            f"it is no key: {len(text)} characters; accepted: {2 * _KEY_BYTES} hexadecimal digits",
            where=str(path),
            fix="bring it back from a backup",
        )
    return key


def requests(store: Store) -> list[Request]:
    """Every request of a store, oldest first."""
    names = set(store.storage.children(FOLDER))
    found = []
    for name in sorted(names):
        number, _, rest = name.partition(".")
        if rest == "json":
            done = f"{number}.done.json"
            fields = json.loads(store.storage.read(f"{FOLDER}/{name}"))
            certificate = json.loads(store.storage.read(f"{FOLDER}/{done}")) if done in names else None
            found.append(Request(int(number), fields, certificate))
    return found


def add(store: Store, fields: Mapping[str, Any]) -> Request:
    """Write a request down, before anything is removed.

    Raises:
        StoreError: another process wrote one at this very moment.
    """
    number = len(requests(store))
    if not store.storage.create(f"{FOLDER}/{number:08d}.json", canonical_json(dict(fields))):
        raise StoreError(
            "another request to forget rows was written at this very moment",
            where=store.url,
            fix="run the command again",
        )
    return Request(number, fields, None)


def finish(store: Store, request: Request, certificate: Mapping[str, Any]) -> None:
    """Write down that everything is removed."""
    store.storage.replace(f"{FOLDER}/{request.name}.done.json", canonical_json(dict(certificate)))


def observe(store: Store, home: Path, pipeline: str | None = None) -> dict[str, Observation]:
    """What is forgotten, as an input from outside: `{"forgotten": …}`, or nothing.

    Its values are the name of the key and the hashes, sorted; those of ids come last.

    Args:
        store: the store.
        home: `FRESHTUNE_HOME`.
        pipeline: whose ids count; None for none.

    Raises:
        ConfigurationError: a request is unfinished – what is left of the text would be remembered – or the key is lost.
    """
    found = requests(store)
    if not found:
        return {}
    for request in found:
        if request.certificate is None:
            raise ConfigurationError(
                f"request {request.name} of {request.fields['when']} to forget rows is unfinished",
                where=request.fields["pipeline"],
                fix=f"freshtune rows {request.fields['pipeline']} rule --forget",
            )
    name = found[0].fields["key"]
    key_called(home, name)
    hashes = sorted({each for request in found for each in request.fields["hashes"]})
    mine = [request.fields for request in found if request.fields["pipeline"] == pipeline]
    hashes += sorted({each for fields in mine for each in fields.get("ids", ())})
    return {"forgotten": Observation("input", "forgotten rows", digest_json([name, hashes]), values=(name, *hashes))}


def matching(texts: Sequence[str | None], key: bytes, hashes: frozenset[str]) -> list[bool]:
    """For each text whether it is one of those that are forgotten."""
    known: dict[str, bool] = {}
    found = []
    for text in texts:
        if text is None:
            found.append(False)
            continue
        if text not in known:
            known[text] = hash_of(text, key) in hashes
        found.append(known[text])
    return found


def matching_ids(column: str, values: Sequence[str | None], key: bytes, hashes: frozenset[str]) -> list[bool]:
    """For each value of a column whether it is an id that is forgotten."""
    return [value is not None and hash_of_id(column, value, key) in hashes for value in values]
