"""Where the store's bytes are: a local folder, or any object storage that fsspec reaches.

Both offer the same few operations, from which everything else is made: read, list, create only if absent, replace
atomically, and publish a folder whose manifest comes last.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import psutil

from assets.errors import StoreError

MANIFEST = "manifest.json"


def read_only(folder: Path) -> None:
    """Take the permission to write from every file of a folder, so that a slip of the hand does not damage it."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o444)


class Storage(Protocol):
    """What the store asks of a place that keeps bytes. Names are relative, with `/`."""

    def read(self, name: str) -> bytes:
        """Bytes of a file. Raises FileNotFoundError."""
        ...

    def create(self, name: str, data: bytes) -> bool:
        """Create a file whole, or leave what is there; whether it was created."""
        ...

    def replace(self, name: str, data: bytes) -> None:
        """Put a file's new bytes in place of the old ones at once."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file or folder, if it is there."""
        ...

    def children(self, name: str) -> list[str]:
        """Names directly inside a folder, sorted; none if there is no such folder."""
        ...

    def publish(self, folder: Path, name: str) -> None:
        """Publish a folder with its manifest under a name that holds nothing whole yet."""
        ...

    def sizes(self, name: str) -> dict[str, int]:
        """Bytes of every published file of a folder, by relative path, the manifest left out."""
        ...

    def local(self, name: str, cache: Path) -> Path:
        """A local folder with the published files."""
        ...


class LocalStorage:
    """A folder of a local or shared POSIX file system.

    Attributes:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, name: str) -> bytes:
        """See `Storage.read`."""
        return (self.root / name).read_bytes()

    def _staged(self, data: bytes) -> Path:
        part = self.root / "staging" / f"{_owner()}-{uuid.uuid4().hex}.part"
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return part

    def create(self, name: str, data: bytes) -> bool:
        """See `Storage.create`: a hard link is atomic and fails if the name is taken."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = self._staged(data)
        try:
            os.link(part, path)
        except FileExistsError:
            return False
        finally:
            part.unlink()
        return True

    def replace(self, name: str, data: bytes) -> None:
        """See `Storage.replace`."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._staged(data).replace(path)

    def remove(self, name: str) -> None:
        """See `Storage.remove`: moved aside first, so that nobody sees half of a folder."""
        aside = self.root / "staging" / f"{_owner()}-{uuid.uuid4().hex}.removed"
        aside.parent.mkdir(parents=True, exist_ok=True)
        try:
            (self.root / name).rename(aside)
        except FileNotFoundError:
            return
        _delete(aside)

    def children(self, name: str) -> list[str]:
        """See `Storage.children`."""
        try:
            return sorted(entry.name for entry in (self.root / name).iterdir())
        except FileNotFoundError:
            return []

    def publish(self, folder: Path, name: str) -> None:
        """See `Storage.publish`: one rename. If another process published the same first, its folder stands."""
        for path in folder.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.rename(target)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise

    def sizes(self, name: str) -> dict[str, int]:
        """See `Storage.sizes`."""
        base = self.root / name
        return {
            path.relative_to(base).as_posix(): path.stat().st_size
            for path in base.rglob("*")
            if path.is_file() and path != base / MANIFEST
        }

    def local(self, name: str, cache: Path) -> Path:
        """See `Storage.local`."""
        return self.root / name


class BucketStorage:
    """A prefix of an object storage. Files lie under their own digests, so publishers of equal content never mix bytes.

    Attributes:
        url: fsspec URL of the prefix.
    """

    def __init__(self, url: str) -> None:
        import fsspec  # a local store does not need it

        self.url = url
        self._system, self._root = fsspec.core.url_to_fs(url)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def read(self, name: str) -> bytes:
        """See `Storage.read`."""
        data: bytes = self._system.cat_file(self._path(name))
        return data

    def create(self, name: str, data: bytes) -> bool:
        """See `Storage.create`: a conditional write."""
        try:
            self._system.pipe_file(self._path(name), data, mode="create")
        except FileExistsError:
            return False
        return True

    def replace(self, name: str, data: bytes) -> None:
        """See `Storage.replace`: a put is atomic."""
        self._system.pipe_file(self._path(name), data)

    def remove(self, name: str) -> None:
        """See `Storage.remove`."""
        try:
            self._system.rm(self._path(name), recursive=True)
        except FileNotFoundError:
            return

    def _list(self, name: str, *, deep: bool) -> list[dict[str, Any]]:
        self._system.invalidate_cache()
        try:
            if deep:
                return list(self._system.find(self._path(name), detail=True).values())
            return list(self._system.ls(self._path(name), detail=True))
        except FileNotFoundError:
            return []

    def children(self, name: str) -> list[str]:
        """See `Storage.children`."""
        return sorted(entry["name"].rstrip("/").rsplit("/", 1)[-1] for entry in self._list(name, deep=False))

    def publish(self, folder: Path, name: str) -> None:
        """See `Storage.publish`: files by digest first, then the manifest, which is created only if absent."""
        data = (folder / MANIFEST).read_bytes()
        for relative, facts in json.loads(data)["files"].items():
            self._system.put_file(str(folder / relative), self._path(f"{name}/{facts['sha256']}"))
        self.create(f"{name}/{MANIFEST}", data)

    def _files(self, name: str) -> dict[str, dict[str, Any]]:
        files: dict[str, dict[str, Any]] = json.loads(self.read(f"{name}/{MANIFEST}"))["files"]
        return files

    def sizes(self, name: str) -> dict[str, int]:
        """See `Storage.sizes`."""
        there = {entry["name"].rsplit("/", 1)[-1]: int(entry["size"]) for entry in self._list(name, deep=True)}
        digests = {relative: facts["sha256"] for relative, facts in self._files(name).items()}
        return {relative: there[digest] for relative, digest in digests.items() if digest in there}

    def local(self, name: str, cache: Path) -> Path:
        """See `Storage.local`: fetched once, appearing whole."""
        target = cache / name
        if (target / MANIFEST).exists():
            return target
        part = cache / "staging" / uuid.uuid4().hex
        for relative, facts in self._files(name).items():
            path = part / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            self._system.get_file(self._path(f"{name}/{facts['sha256']}"), str(path))
        part.mkdir(parents=True, exist_ok=True)
        (part / MANIFEST).write_bytes(self.read(f"{name}/{MANIFEST}"))
        read_only(part)
        LocalStorage(cache).publish(part, name)
        if part.exists():
            _delete(part)
        return target


def open_storage(url: str) -> Storage:
    """Storage for a folder or an fsspec URL."""
    if "://" in url and not url.startswith("file://"):
        return BucketStorage(url.rstrip("/"))
    return LocalStorage(Path(url.removeprefix("file://")))


def _owner() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


def _delete(path: Path) -> None:
    if path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path)


def _sweep(folder: Path) -> None:
    """Delete what processes of this machine left behind when they were killed."""
    host = socket.gethostname()
    for path in folder.iterdir():
        owner, _, _ = path.name.rpartition("-")
        name, _, pid = owner.rpartition("-")
        if name == host and pid.isdigit() and not psutil.pid_exists(int(pid)):
            _delete(path)


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A new folder for a build, on the file system of `folder`; deleted afterwards, or by a later process.

    Raises:
        StoreError: if the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    path = folder / f"{_owner()}-{uuid.uuid4().hex}"
    path.mkdir()
    try:
        yield path
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StoreError(
                "no space left on the disk while a result was written; nothing half-written was kept",
                where=str(folder),
                fix="free some space, or point FRESHTUNE_HOME at a larger disk, and run again",
            ) from error
        raise
    finally:
        if path.exists():
            _delete(path)
