"""Files that lie elsewhere, on the in-memory file system of fsspec; S3 itself is tested in tests/system."""

from __future__ import annotations

import errno
import hashlib
import io
import sys
from pathlib import Path
from typing import Any

import fsspec
import pytest

from assets.errors import ChangingError, ConfigurationError, DataError, FreshtuneError, TransientError
from assets.raw.remote import elsewhere, read_bytes
from assets.store.digests import digest_file
from assets.store.index import FileIndex

HERE = "memory://freshtune-source"


@pytest.fixture
def index(tmp_path: Path) -> FileIndex:
    return FileIndex(tmp_path / "files.json")


@pytest.fixture(autouse=True)
def bucket() -> fsspec.AbstractFileSystem:
    system = fsspec.filesystem("memory")
    if system.exists("/freshtune-source"):
        system.rm("/freshtune-source", recursive=True)
    for name in ("b.csv", "a.csv", "c.txt", "deep/d.csv"):
        system.pipe_file(f"/freshtune-source/{name}", name.encode())
    return system


def test_patterns_are_matched_where_the_files_are(index: FileIndex, tmp_path: Path) -> None:
    found = elsewhere(f"{HERE}/*.csv", index)
    assert [file.name for file in found] == ["memory:///freshtune-source/a.csv", "memory:///freshtune-source/b.csv"]
    (tmp_path / "same").write_bytes(b"a.csv")
    assert (found[0].sha256, found[0].size) == (digest_file(tmp_path / "same"), 5)
    assert read_bytes(found[0].path) == b"a.csv"
    assert [file.name[-10:] for file in elsewhere(f"{HERE}/**/*.csv", index)][-1] == "deep/d.csv"


def test_a_file_is_read_again_only_when_what_is_told_of_it_changed(
    index: FileIndex, tmp_path: Path, bucket: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = elsewhere(f"{HERE}/a.csv", index)
    index.save()
    with monkeypatch.context() as patched:
        patched.setattr(type(bucket), "open", lambda *_a, **_k: pytest.fail("read again"))
        assert elsewhere(f"{HERE}/a.csv", FileIndex(tmp_path / "files.json")) == before
    bucket.pipe_file("/freshtune-source/a.csv", b"other")
    assert elsewhere(f"{HERE}/a.csv", index)[0].sha256 != before[0].sha256


@pytest.mark.parametrize(
    ("url", "held"),
    [
        ("https://host/a.csv?token=hidden", "token=…"),
        (
            "https://host/a.csv?format=csv&X-Amz-Credential=hidden&X-Amz-Signature=hidden",
            "X-Amz-Credential=…, X-Amz-Si",
        ),
        ("https://host/a.csv?sv=2022&sig=hidden", "sig=…"),
        ("https://host/a.csv?api_key=hidden", "api_key=…"),
        ("https://hidden@host/a.csv", "a name or token before @"),
        ("https://me:hidden@host/a.csv", "a password"),
        ("simplecache::https://me:hidden@host/a.csv", "a password"),
        ("https://host/a.csv?$$app_token=hidden", r"\$\$app_token=…"),
        ("https://host/a.csv?api[key]=hidden", r"api\[key\]=…"),
        ("https://host/a.csv?code=hidden", "code=…"),
        ("https://host/a.csv#access_token=hidden", "access_token=…"),
    ],
)
def test_a_secret_in_a_url_is_refused_and_not_said(url: str, held: str, index: FileIndex) -> None:
    with pytest.raises(ConfigurationError, match=f"a URL of https:// holds {held}") as caught:
        elsewhere(url, index)
    assert "hidden" not in str(caught.value)
    assert "FSSPEC_HTTPS='{" in str(caught.value)


@pytest.mark.parametrize("name", ["day?/token=5/a.csv", "a?key.csv", "b.cs?author=me", "b.csv"])
def test_what_is_no_secret_is_not_refused(name: str, index: FileIndex, bucket: fsspec.AbstractFileSystem) -> None:
    bucket.pipe_file("/freshtune-source/day1/token=5/a.csv", b"1")
    bucket.pipe_file("/freshtune-source/a-key.csv", b"2")
    bucket.pipe_file("/freshtune-source/b.csvauthor=me", b"3")
    assert len(elsewhere(f"{HERE}/{name}", index)) == 1


def test_what_cannot_be_read_is_said(index: FileIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    assert elsewhere(f"{HERE}/none*", index) == []
    with pytest.raises(ConfigurationError, match="nowhere:// cannot be read"):
        elsewhere("nowhere://bucket/a.csv", index)
    with pytest.raises(ConfigurationError, match="holds a password") as caught:
        elsewhere("ftp://me:hidden@host/a.csv", index)
    assert "hidden" not in str(caught.value)
    with pytest.raises(TransientError, match=r"none\.csv: cannot be read any more.*\n  fix: run again"):
        read_bytes(f"{HERE}/none.csv")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ConfigurationError, match=r"(?s)s3:// cannot be read.*freshtune\[s3\]"):
        elsewhere("s3://bucket/a.csv", index)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (
            FileNotFoundError("no such key"),
            ChangingError,
            r"a\.csv: the file went away while it was looked at\n  fix: look",
        ),
        (OSError(errno.EBUSY, "no longer exists"), ChangingError, r"a\.csv: the file changed while it was looked at\n"),
        (OSError(errno.EIO, "reset by peer"), TransientError, r"cannot be reached: OSError: .*reset by peer"),
        (PermissionError("Access Denied"), DataError, r"cannot be read: Access Denied\n  fix: .*credentials"),
    ],
)
def test_a_file_that_changes_or_goes_while_it_is_looked_at(
    index: FileIndex,
    bucket: fsspec.AbstractFileSystem,
    monkeypatch: pytest.MonkeyPatch,
    error: OSError,
    kind: type[FreshtuneError],
    message: str,
) -> None:
    def fail(*_arguments: object, **_named: object) -> None:
        raise error

    monkeypatch.setattr(type(bucket), "open", fail)
    with pytest.raises(kind, match=message) as caught:
        elsewhere(f"{HERE}/*.csv", index)
    assert type(caught.value) is kind


def test_a_network_that_fails_is_a_thing_that_may_pass(
    index: FileIndex, bucket: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    class EndpointError(Exception):
        """As botocore's, which is no OSError."""

    def fail(*_arguments: object, **_named: object) -> None:
        raise EndpointError("no route")

    monkeypatch.setattr(type(bucket), "info", fail)
    with pytest.raises(TransientError, match=r"cannot be reached: EndpointError: no route"):
        elsewhere(f"{HERE}/a.csv", index)


def test_a_network_that_is_lost_in_mid_read_leaves_nothing_and_the_next_look_is_whole(
    index: FileIndex, bucket: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Breaking(io.RawIOBase):
        """Gives half of the file, then no more."""

        given = 0

        def readable(self) -> bool:
            return True

        def readinto(self, into: Any) -> int:
            if self.given:
                raise ConnectionResetError("connection reset by peer")
            self.given = len(whole) // 2
            into[: self.given] = whole[: self.given]
            return self.given

    whole = bucket.cat_file("/freshtune-source/a.csv")
    with monkeypatch.context() as broken:
        broken.setattr(type(bucket), "open", lambda *_given, **_named: Breaking())
        with pytest.raises(TransientError, match=r"cannot be reached: ConnectionResetError: connection reset by peer"):
            elsewhere(f"{HERE}/a.csv", index)
        broken.setattr(type(bucket), "cat_file", lambda *_given, **_named: Breaking().readall())
        with pytest.raises(TransientError, match="connection reset by peer"):
            read_bytes(f"{HERE}/a.csv")
    assert elsewhere(f"{HERE}/a.csv", index)[0].sha256 == hashlib.sha256(whole).hexdigest()
    assert read_bytes(f"{HERE}/a.csv") == whole
