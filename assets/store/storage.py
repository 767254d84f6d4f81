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
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import psutil

from assets.errors import explained

MANIFEST = "manifest.json"


def read_only(folder: Path) -> None:
    """Take the permission to write from every file of a folder, so that a slip of the hand does not damage it."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o444)


class Listed(NamedTuple):
    """A file as a listing shows it.

    Attributes:
        name: path relative to what was listed, with `/`.
        size: bytes.
        modified: Unix time of the last write, in seconds, by the clock of the storage.
    """

    name: str
    size: int
    modified: float


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

    def read_all(self, names: Sequence[str]) -> dict[str, bytes]:
        """Bytes of many files by name, in few requests; those that are gone are left out."""
        ...

    def tree(self, name: str) -> Iterator[Listed]:
        """Every file under a folder, manifests too; none if there is no such folder."""
        ...

    def touch(self, name: str) -> None:
        """Let a file's last write be now, if it is there: collection of garbage leaves alone what was used lately."""
        ...

    def clear(self, folders: Mapping[str, Sequence[str]]) -> None:
        """Remove folders, given with the files in them: manifests first, so that no remainder looks whole."""
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
        try:
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            part.unlink(missing_ok=True)
            raise
        return part

    def create(self, name: str, data: bytes) -> bool:
        """See `Storage.create`: a hard link is atomic and fails if the name is taken."""
        path = self.root / name
        part = self._staged(data)
        try:
            _link(part, path)
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
        delete(aside)

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
        return {listed.name: listed.size for listed in self.tree(name) if listed.name != MANIFEST}

    def local(self, name: str, cache: Path) -> Path:
        """See `Storage.local`."""
        return self.root / name

    def read_all(self, names: Sequence[str]) -> dict[str, bytes]:
        """See `Storage.read_all`."""
        found = {}
        for name in names:
            # A path object costs as much as reading a small file.
            with suppress(FileNotFoundError), open(f"{self.root}/{name}", "rb") as file:  # noqa: PTH123
                found[name] = file.read()
        return found

    def tree(self, name: str) -> Iterator[Listed]:
        """See `Storage.tree`."""
        base = str(self.root / name)
        folders = [base]
        while folders:
            folder = folders.pop()
            # Another process may remove what is being listed.
            with suppress(FileNotFoundError), os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        status = entry.stat(follow_symlinks=False)
                        yield Listed(entry.path[len(base) + 1 :], status.st_size, status.st_mtime)

    def touch(self, name: str) -> None:
        """See `Storage.touch`. Where nothing can be written the use is not noted; leases tell of it nevertheless."""
        with suppress(OSError):
            os.utime(self.root / name)

    def clear(self, folders: Mapping[str, Sequence[str]]) -> None:
        """See `Storage.clear`."""
        for folder, files in folders.items():
            try:
                _clear(f"{self.root}/{folder}", files)
            except OSError as error:
                # Something was removed or put there in this very moment; the rest is for the next time.
                if error.errno not in {errno.ENOENT, errno.ENOTEMPTY}:
                    raise


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

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Let what fails be an OSError, as it is of a disk; each client of an object storage has errors of its own.

        Raises:
            OSError: if the storage cannot be reached or does not answer.
        """
        try:
            yield
        except OSError:
            raise
        except Exception as error:
            raise OSError(errno.EIO, f"{self.url}: {error}") from error

    def read(self, name: str) -> bytes:
        """See `Storage.read`."""
        with self._asking():
            data: bytes = self._system.cat_file(self._path(name))
        return data

    def create(self, name: str, data: bytes) -> bool:
        """See `Storage.create`: a conditional write.

        If its answer is lost, the client repeats it and finds what it wrote itself. So bytes that are there already
        count as created; whoever must be the only one gives bytes that nobody else gives.
        """
        try:
            with self._asking():
                self._system.pipe_file(self._path(name), data, mode="create")
        except FileExistsError:
            # It may be gone again: a lease that was given back.
            with suppress(FileNotFoundError):
                return self.read(name) == data
            return False
        return True

    def replace(self, name: str, data: bytes) -> None:
        """See `Storage.replace`: a put is atomic."""
        with self._asking():
            self._system.pipe_file(self._path(name), data)

    def remove(self, name: str) -> None:
        """See `Storage.remove`."""
        self._delete([self._path(f"{name}/{MANIFEST}")])
        with suppress(FileNotFoundError), self._asking():
            self._system.rm(self._path(name), recursive=True)

    def _list(self, name: str, *, deep: bool) -> list[dict[str, Any]]:
        self._system.invalidate_cache()
        with suppress(FileNotFoundError), self._asking():
            if deep:
                return list(self._system.find(self._path(name), detail=True).values())
            return list(self._system.ls(self._path(name), detail=True))
        return []

    def children(self, name: str) -> list[str]:
        """See `Storage.children`."""
        return sorted(entry["name"].rstrip("/").rsplit("/", 1)[-1] for entry in self._list(name, deep=False))

    def publish(self, folder: Path, name: str) -> None:
        """See `Storage.publish`: files by digest first, then the manifest, which is created only if absent."""
        data = (folder / MANIFEST).read_bytes()
        for relative, facts in json.loads(data)["files"].items():
            with self._asking():
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
            with self._asking():
                self._system.get_file(self._path(f"{name}/{facts['sha256']}"), str(path))
        part.mkdir(parents=True, exist_ok=True)
        (part / MANIFEST).write_bytes(self.read(f"{name}/{MANIFEST}"))
        read_only(part)
        LocalStorage(cache).publish(part, name)
        if part.exists():
            delete(part)
        return target

    def read_all(self, names: Sequence[str]) -> dict[str, bytes]:
        """See `Storage.read_all`."""
        with self._asking():
            told = self._system.cat([self._path(name) for name in names], on_error="return") if names else {}
            found = {name: told[self._path(name)] for name in names}
            for failure in found.values():
                # What could not be read now is not gone.
                if isinstance(failure, Exception) and not isinstance(failure, FileNotFoundError):
                    raise failure
        return {name: data for name, data in found.items() if isinstance(data, bytes)}

    def tree(self, name: str) -> Iterator[Listed]:
        """See `Storage.tree`."""
        base = len(self._path(name).lstrip("/")) + 1
        for entry in self._list(name, deep=True):
            yield Listed(entry["name"].lstrip("/")[base:], int(entry["size"]), _modified(entry))

    def touch(self, name: str) -> None:
        """See `Storage.touch`: object storage has no other way than to write the same bytes again."""
        with suppress(FileNotFoundError):
            self.replace(name, self.read(name))

    def clear(self, folders: Mapping[str, Sequence[str]]) -> None:
        """See `Storage.clear`: in few requests, since most object storages take many names in one."""
        self._delete([self._path(f"{name}/{MANIFEST}") for name, files in folders.items() if MANIFEST in files])
        self._delete(
            [self._path(f"{name}/{file}") for name, files in folders.items() for file in files if file != MANIFEST]
        )

    def _delete(self, paths: list[str]) -> None:
        try:
            with self._asking():
                if paths:
                    self._system.rm(paths)
        except FileNotFoundError:
            # Some storages refuse the whole request for one name that is gone.
            for path in paths:
                with suppress(FileNotFoundError), self._asking():
                    self._system.rm_file(path)


def open_storage(url: str) -> Storage:
    """Storage for a folder or an fsspec URL."""
    if "://" in url and not url.startswith("file://"):
        return BucketStorage(url.rstrip("/"))
    return LocalStorage(Path(url.removeprefix("file://")))


def _modified(entry: Mapping[str, Any]) -> float:
    """Time of the last write, by whatever name a file system of fsspec calls it; of one that tells none, now."""
    for name in ("LastModified", "last_modified", "updated", "mtime", "created"):
        value = entry.get(name)
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if value is not None:
            return value.timestamp() if isinstance(value, datetime) else float(value)
    return time.time()


def _link(part: Path, path: Path) -> None:
    """Let a file appear under a name that is free."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(part, path)
    except FileNotFoundError:
        # Another process removed the empty folder in between (a lease given back, collected garbage).
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(part, path)


def _owner() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


def _clear(folder: str, files: Sequence[str]) -> None:
    """Remove a folder and these files in it, its manifest first; what another process puts there meanwhile stays."""
    # What is published under the same name meanwhile is another folder.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in sorted(files, key=MANIFEST.__ne__):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=descriptor)
    finally:
        os.close(descriptor)
    try:
        os.rmdir(folder)  # noqa: PTH106 - for speed
    except OSError:
        for path, _, _ in os.walk(folder, topdown=False):
            Path(path).rmdir()


def delete(path: Path) -> None:
    """Delete a file or a folder."""
    if path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path)


def _sweep(folder: Path) -> None:
    """Delete what processes of this machine left behind when they were killed."""
    for path in folder.iterdir():
        if abandoned(path.name):
            delete(path)


def abandoned(name: str) -> bool:
    """Whether something in staging belonged to a process of this machine that is gone."""
    owner, _, _ = name.rpartition("-")
    host, _, pid = owner.rpartition("-")
    return host == socket.gethostname() and pid.isdigit() and not psutil.pid_exists(int(pid))


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
        raise (explained(error, folder) or error) from error.__cause__
    finally:
        if path.exists():
            delete(path)
