"""The hub's real client against a server that answers as the hub does: revisions, configurations, no network."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.project import PATIENCE, ROOT

pytestmark = pytest.mark.system

LOOK = """
import json, sys
from pathlib import Path
from assets.config.sources import HuggingFace
from assets.raw.huggingface import look
from assets.store.index import FileIndex
files = look(HuggingFace(**json.loads(sys.argv[1])), FileIndex(Path("files.json")))
print(json.dumps([[file.name, Path(file.path).read_text()] for file in files]))
"""
README = """---
configs:
- config_name: en
  data_files: [{split: train, path: "en/*.csv"}]
- config_name: de
  data_files: [{split: train, path: "de/*.csv"}]
---
"""
PREFIX = "hf://datasets/owner/name/"


class Hub:
    """A hub with the data set `owner/name`.

    Attributes:
        commits: files of each commit, the newest last.
        fetched: paths of files whose bytes were asked for.
    """

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, str]] = {}
        self.fetched: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                status, headers, data = hub.answer(self.command, self.path.partition("?")[0])
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(data)

            def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - named by http.server
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def push(self, files: dict[str, str]) -> str:
        commit = hashlib.sha1(json.dumps(files).encode()).hexdigest()  # noqa: S324 - as git names commits
        self.commits[commit] = files
        return commit

    def answer(self, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
        newest = list(self.commits)[-1]
        match path.strip("/").split("/"):
            case ["api", "datasets", "owner", "name", "revision", "main"]:
                return (
                    200,
                    {"Content-Type": "application/json"},
                    json.dumps({"id": "owner/name", "sha": newest}).encode(),
                )
            case ["api", "datasets", "owner", "name", "tree", commit] if commit in self.commits:
                held = [
                    {"type": "file", "path": path, "size": len(text), "oid": hashlib.sha1(text.encode()).hexdigest()}  # noqa: S324
                    for path, text in self.commits[commit].items()
                ]
                return 200, {"Content-Type": "application/json"}, json.dumps(held).encode()
            case ["datasets", "owner", "name", "resolve", commit, *parts] if commit in self.commits:
                text = self.commits[commit]["/".join(parts)]
                if method == "GET":
                    self.fetched.append("/".join(parts))
                etag = hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 - as git names files
                return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": commit}, text.encode()
            case ["api", "datasets", "owner", "name", *_]:
                return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
            case _:
                return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    thread = threading.Thread(target=hub.server.serve_forever)
    thread.start()
    yield hub
    hub.server.shutdown()
    hub.server.server_close()
    thread.join()


def run(hub: Hub, folder: Path, *, offline: bool = False, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
        "PYTHONPATH": str(ROOT),
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server.server_address[1]}",
        "HF_HOME": str(folder / "hub"),
        "FRESHTUNE_HOME": str(folder / "home"),
        "HF_HUB_OFFLINE": str(int(offline)),
        "HF_HUB_DISABLE_XET": "1",
    }
    command = [sys.executable, "-c", LOOK, json.dumps(settings)]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
    )


def seen(hub: Hub, folder: Path, **settings: Any) -> list[list[str]]:
    ran = run(hub, folder, **settings)
    assert ran.returncode == 0, ran.stderr
    found: list[list[str]] = json.loads(ran.stdout)
    return found


def refused(hub: Hub, folder: Path, **settings: Any) -> str:
    ran = run(hub, folder, **settings)
    assert ran.returncode != 0, ran.stdout
    return ran.stderr.splitlines()[-2]


def test_a_data_set_is_followed_and_stays_without_a_network(hub: Hub, tmp_path: Path) -> None:
    files = {
        "README.md": README,
        "en/a.csv": "text,label\none,ham\n",
        "de/a.csv": "eins",
        "evil.py": "raise SystemExit",
    }
    first = hub.push(files)
    before = seen(hub, tmp_path, name="owner/name", config="en")
    assert before == [[f"{PREFIX}en/a.csv", "text,label\none,ham\n"]]
    assert hub.fetched == ["README.md", "en/a.csv"]

    second = hub.push({**files, "en/b.csv": "text,label\ntwo,spam\n"})
    after = seen(hub, tmp_path, name="owner/name", config="en")
    assert after == [*before, [f"{PREFIX}en/b.csv", "text,label\ntwo,spam\n"]]
    # What both commits have is not fetched again.
    assert hub.fetched[2:] == ["en/b.csv"]
    assert seen(hub, tmp_path, name=f"owner/name@{first}", config="en") == before

    assert seen(hub, tmp_path, name="owner/name", config="en", offline=True) == after
    assert seen(hub, tmp_path, name=f"owner/name@{second}", config="en", offline=True) == after
    assert "cannot be fetched from the hub" in refused(hub, tmp_path, name="owner/name", config="de", offline=True)


def test_what_the_hub_does_not_have(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    hub.push({"README.md": README, "en/a.csv": "x", "de/a.csv": "y"})
    assert "owner/name@v9 has no such revision" in refused(hub, tmp_path, name="owner/name@v9")
    assert "owner/other@main is neither a folder of this project nor a data set" in refused(
        hub, tmp_path, name="owner/other"
    )
    assert "it has several configurations; it has en, de" in refused(hub, tmp_path, name="owner/name")
    assert "cannot be fetched from the hub" in refused(hub, tmp_path / "new", name="owner/name", offline=True)
