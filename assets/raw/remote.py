"""Files of the source that lie elsewhere: whatever fsspec reaches (`s3://`, `gs://`, `https://`, …)."""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

from assets.errors import ChangingError, ConfigurationError, DataError, FreshtuneError, TransientError
from assets.store.step import FileIndex, ObservedFile

WHERE = "source.files"
CHANGES = (
    "ETag",
    "etag",
    "versionId",
    "md5Hash",
    "md5",
    "LastModified",
    "last_modified",
    "updated",
    "mtime",
    "created",
)
"""What file systems of fsspec tell of a file that changes when its bytes do."""

WEB = frozenset({"http", "https"})
PARAMETER = re.compile(r"[\w.$\[\]-]+")
"""The name of a parameter of a query; a folder `/name=value` after a `?` that stands for any character is none."""
SECRET = re.compile(
    r"token|secret|passw|pwd|signature|sig$|key(id)?\]?$|^code$|credential|auth(?!or)|session|jwt|^x-(amz|goog)-",
    re.IGNORECASE,
)
"""In the name of a parameter whose value lets people in, as presigned URLs and APIs have them."""


def elsewhere(entry: str, index: FileIndex) -> list[ObservedFile]:
    """Look at the files that a URL or a pattern of one means. A file is read only when what is told of it changed.

    Args:
        entry: URL as configured.
        index: digests of files that were looked at before.

    Raises:
        ConfigurationError: it holds a secret, or no file system for it is installed.
        DataError: a file cannot be read for want of permission.
        TransientError: it cannot be reached.
        ChangingError: a file changed or went away while it was looked at.
    """
    _refuse_secrets(entry)
    with _said(entry):
        system, path = _opened(entry)
        system.invalidate_cache()
        looked = [_look(system, each, index) for each in _matches(system, path)]
    return [file for file in looked if file is not None]


def _refuse_secrets(url: str) -> None:
    """Refuse a URL with a secret: names of files are in records, reports and lineage, and the YAML is in a repository.

    Raises:
        ConfigurationError: which says what it is and not its value.
    """
    # fsspec chains file systems by `::`, as in simplecache::https://….
    for link in url.split("::"):
        _refuse_secrets_of(urlsplit(link))


def _refuse_secrets_of(parts: SplitResult) -> None:
    held = ["a password"] if parts.password else []
    if parts.scheme in WEB and parts.username and not parts.password:
        held.append("a name or token before @")
    # Without a name and a value it is a pattern: `?` stands for any character.
    named = [name for name, _ in parse_qsl(parts.query) + parse_qsl(parts.fragment)]
    held += [f"{name}=…" for name in named if PARAMETER.fullmatch(name) and SECRET.search(name)]
    if held:
        web = """, for instance FSSPEC_HTTPS='{"client_kwargs": {"headers": {"Authorization": "Bearer …"}}}'"""
        raise ConfigurationError(
            f"a URL of {parts.scheme}:// holds {', '.join(held)}",
            where=WHERE,
            fix="take it out; give it to fsspec by its environment variables (FSSPEC_…) or the provider's own"
            + (web if parts.scheme in WEB else ""),
        )


def read_bytes(url: str) -> bytes:
    """Bytes of a file elsewhere, which was there when it was looked at.

    Raises:
        DataError: it may not be read.
        TransientError: it cannot be reached, or is not there any more.
    """
    with _said(url):
        system, path = _opened(url)
        try:
            data: bytes = system.cat_file(path)
        except FileNotFoundError as error:
            raise TransientError(f"cannot be read any more: {error}", where=url, fix="run again") from error
    return data


def _opened(url: str) -> tuple[Any, str]:
    import fsspec  # a source on this machine does not need it

    try:
        system, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        scheme = urlsplit(url).scheme
        raise ConfigurationError(
            f"{scheme}:// cannot be read: {error}",
            where=WHERE,
            fix="install the file system that is named (for s3://: pip install 'freshtune[s3]'), or correct the URL",
        ) from error
    return system, path


def _matches(system: Any, path: str) -> list[str]:
    if any(each in path for each in "*?["):
        return sorted(system.glob(path))
    try:
        # Not `exists`, which takes a network that fails for a file that is not there.
        system.info(path)
    except FileNotFoundError:
        return []
    return [path]


def _look(system: Any, path: str, index: FileIndex) -> ObservedFile | None:
    """Look at one file that was listed; None for a folder."""
    url = system.unstrip_protocol(path)
    try:
        told: Mapping[str, Any] = system.info(path)
        path, url = told["name"], system.unstrip_protocol(told["name"])
        if told["type"] != "file":
            return None
        size = int(told["size"])
        facts: list[int | str] = [size, *(str(told[name]) for name in CHANGES if told.get(name))]

        def digest() -> str:
            with system.open(path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()

        # Of one that tells nothing but its size nobody knows whether it changed.
        sha256 = index.sha256_at(url, facts, digest) if len(facts) > 1 else digest()
    except FileNotFoundError as error:
        raise ChangingError(
            "the file went away while it was looked at", where=url, fix="look again; it was removed or renamed"
        ) from error
    except OSError as error:
        # So file systems say that the bytes are not those of the file that was opened.
        if error.errno != errno.EBUSY:
            raise
        raise ChangingError(
            "the file changed while it was looked at", where=url, fix="look again once nobody writes to it"
        ) from error
    return ObservedFile(name=url, path=url, sha256=sha256, size=size)


@contextmanager
def _said(url: str) -> Iterator[None]:
    try:
        yield
    except FreshtuneError:
        raise
    except (FileNotFoundError, PermissionError) as error:
        raise DataError(
            f"cannot be read: {error}",
            where=url,
            fix="check that it is there, and that the credentials in the environment may list and read it",
        ) from error
    except Exception as error:
        # Each file system has errors of its own for a network that fails; many derive from nothing in common.
        raise TransientError(
            f"cannot be reached: {type(error).__name__}: {error}",
            where=url,
            fix="try again with a network; check the endpoint and the credentials in the environment",
        ) from error
