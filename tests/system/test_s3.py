"""The store's promises on a server that speaks S3, over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from assets.store.storage import BucketStorage
from tests.staleness.test_faults import attempts, check

pytestmark = pytest.mark.system

BUCKET = "freshtune"


@pytest.fixture(scope="module")
def settings() -> Iterator[dict[str, str]]:
    """Environment variables under which `s3://` means a server of our own."""
    server_module = pytest.importorskip("moto.server")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = {"endpoint_url": f"http://{host}:{port}", "key": "key", "secret": "secret"}
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_DEFAULT_REGION", "us-east-1")
        import s3fs

        s3fs.S3FileSystem(**client).mkdir(BUCKET)
        yield {
            "FSSPEC_S3_ENDPOINT_URL": client["endpoint_url"],
            "FSSPEC_S3_KEY": client["key"],
            "FSSPEC_S3_SECRET": client["secret"],
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    server.stop()


def opened(settings: dict[str, str], name: str) -> BucketStorage:
    import fsspec

    prefix = "FSSPEC_S3_"
    fsspec.config.conf["s3"] = {
        variable.removeprefix(prefix).lower(): value
        for variable, value in settings.items()
        if variable.startswith(prefix)
    }
    return BucketStorage(f"s3://{BUCKET}/{name}")


def test_of_many_that_create_a_name_at_once_one_does(settings: dict[str, str]) -> None:
    storage = opened(settings, "race")
    created: list[int] = []
    start = threading.Barrier(8)

    def create(number: int) -> None:
        start.wait()
        if storage.create("leases/key/000000.json", json.dumps(number).encode()):
            created.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [json.loads(storage.read("leases/key/000000.json"))] == created


def test_replaced_and_removed_files_are_seen_so_at_once(settings: dict[str, str]) -> None:
    storage = opened(settings, "files")
    assert storage.children("references") == []
    storage.replace("references/a.json", b"1")
    storage.replace("references/a.json", b"2")
    assert (storage.children("references"), storage.read("references/a.json")) == (["a.json"], b"2")
    assert not storage.create("references/a.json", b"3")
    storage.remove("references")
    storage.remove("references")
    assert storage.children("references") == []
    with pytest.raises(FileNotFoundError):
        storage.read("references/a.json")


def test_a_published_folder_is_fetched_whole(settings: dict[str, str], tmp_path: Path) -> None:
    storage = opened(settings, "folders")
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "a.txt").write_bytes(b"abc")
    files = {"below/a.txt": {"sha256": "ab" * 32, "size": 3}}
    (folder / "manifest.json").write_text(json.dumps({"files": files}))
    storage.publish(folder, "objects/ab/abab")
    assert storage.sizes("objects/ab/abab") == {"below/a.txt": 3}
    assert (storage.local("objects/ab/abab", tmp_path / "cache") / "below" / "a.txt").read_bytes() == b"abc"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("repair", [False, True], ids=["from nothing", "repairing"])
@pytest.mark.parametrize("fault", ["kill", "raise", "late"])
def test_a_server_outlives_a_fault_at_every_operation(settings: dict[str, str], fault: str, *, repair: bool) -> None:
    url = f"s3://{BUCKET}/{fault}-{repair}"
    check(attempts(fault, *(["--repair"] if repair else []), "--store", url, **settings), repair=repair)
