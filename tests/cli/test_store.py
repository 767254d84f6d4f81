from __future__ import annotations

import json
from pathlib import Path

import pytest

from assets.store import marks
from assets.store import store as stored
from tests.cli.chain import Tiny
from tests.cli.conftest import Freshtune


@pytest.fixture
def ran(freshtune: Freshtune, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """Run with 3 epochs, then with 7; nothing is too young to be collected."""
    monkeypatch.setenv("FRESHTUNE_HOME", str(tiny.folder))
    monkeypatch.delenv("FRESHTUNE_STORE", raising=False)
    monkeypatch.setattr(marks, "GRACE_SECONDS", 0.0)
    for epochs in (3, 7):
        tiny.config["training"] = {"epochs": epochs}
        assert freshtune("run", "tiny").exit_code == 0
    return tiny


def states(freshtune: Freshtune) -> dict[str, str]:
    return {step["step"]: step["state"] for step in json.loads(freshtune("plan", "tiny", "--json").stdout)["steps"]}


def test_garbage_is_shown_then_removed_and_built_again_when_wanted(freshtune: Freshtune, ran: Tiny) -> None:
    ran.config["training"] = {"epochs": 5}
    assert freshtune("run", "tiny", "--to", "model").exit_code == 0
    ran.config["training"] = {"epochs": 7}
    assert freshtune("run", "tiny").exit_code == 0
    shown = freshtune("store", "gc", "--keep", "0")
    assert shown.exit_code == 0, shown.output
    assert "can be freed. Next: freshtune store gc --yes" in shown.stdout
    found = json.loads(freshtune("store", "gc", "--keep", "0", "--json").stdout)
    assert not found["deleted"]
    assert found["garbage"]["objects"]["count"] == found["garbage"]["traces"]["count"] == 1
    removed = json.loads(freshtune("store", "gc", "--keep", "0", "--yes", "--json").stdout)
    assert removed == {**found, "deleted": True}
    assert "No garbage." in freshtune("store", "gc", "--keep", "0").stdout
    assert set(states(freshtune).values()) == {"fresh"}
    # The model of 3 epochs is in the promotion log, that of 5 is built again.
    ran.config["training"] = {"epochs": 3}
    assert states(freshtune)["model"] == "reusable"
    ran.config["training"] = {"epochs": 5}
    assert states(freshtune)["model"] == "stale"
    assert freshtune("run", "tiny").exit_code == 0
    assert freshtune("store", "verify").exit_code == 0


def test_the_newest_results_are_kept_unless_told_otherwise(freshtune: Freshtune, ran: Tiny) -> None:
    assert json.loads(freshtune("store", "gc", "--json").stdout)["garbage"] == {}
    assert "freed" not in freshtune("store", "gc", "--yes").stdout


def test_a_sample_is_forgotten_when_nobody_changed_it_for_long(
    freshtune: Freshtune, ran: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert freshtune("run", "tiny", "--sample", "5").exit_code == 0
    tried = ran.open_runner("tiny", sample=5).standing("model")
    assert tried is not None
    assert "samples" not in json.loads(freshtune("store", "gc", "--json").stdout)["garbage"]
    monkeypatch.setattr(marks, "UNUSED_SECONDS", 0.0)
    removed = json.loads(freshtune("store", "gc", "--keep", "0", "--yes", "--json").stdout)["garbage"]
    assert removed["samples"]["count"] == 1
    runner = ran.open_runner("tiny", sample=5)
    assert runner.standing("model") is None
    assert runner.store.fault("objects", tried.record.content) is not None
    assert set(states(freshtune).values()) == {"fresh"}
    assert freshtune("store", "verify").exit_code == 0
    assert freshtune("run", "tiny", "--sample", "5").exit_code == 0


def weights(tiny: Tiny) -> tuple[str, Path]:
    store = tiny.open_runner("tiny").store
    reference = store.reference("test", "tiny", "model")
    assert reference is not None
    return reference.content, store.open("objects", reference.content) / "model" / "weights.json"


def test_verify(freshtune: Freshtune, ran: Tiny) -> None:
    result = freshtune("store", "verify")
    assert result.exit_code == 0, result.output
    assert "Every digest is right." in result.stdout
    assert "store: reading objects" in result.stderr
    digest, path = weights(ran)
    path.chmod(0o644)
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    result = freshtune("store", "verify")
    assert result.exit_code == 1
    assert f"objects/{digest}: model/weights.json, bytes altered (test/tiny/model; promotion log of test/tiny)" in (
        result.stdout
    )
    assert "fix: freshtune run tiny" in result.stdout
    assert states(freshtune)["model"] == "stale"
    found = freshtune("store", "verify", "--json")
    assert found.exit_code == 1
    assert json.loads(found.stdout)["faults"][0]["affected"] == ["test/tiny/model"]
    assert freshtune("run", "tiny").exit_code == 0
    assert freshtune("store", "verify").exit_code == 0


def test_migrate(freshtune: Freshtune, ran: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "The store has format 1, which is the present one." in freshtune("store", "migrate").stdout
    monkeypatch.setattr(stored, "FORMAT", 2)
    monkeypatch.setattr(stored, "MIGRATIONS", {1: lambda _: None})
    refused = freshtune("store", "gc")
    assert refused.exit_code == 1
    assert "fix: bring it to the present format with `freshtune store migrate`" in refused.stderr
    assert "The store had format 1 and has format 2 now." in freshtune("store", "migrate").stdout
    assert json.loads(freshtune("store", "migrate", "--json").stdout) == {"before": 2, "after": 2}
    assert freshtune("store", "gc").exit_code == 0


@pytest.mark.parametrize("arguments", [["verify", "--yes"], ["migrate", "--keep", "3"]])
def test_wrong_use(freshtune: Freshtune, ran: Tiny, arguments: list[str]) -> None:
    result = freshtune("store", *arguments)
    assert result.exit_code == 2
    assert "takes neither --keep nor --yes" in result.stderr
