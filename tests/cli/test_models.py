from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from assets.cli import model_changes, model_list
from assets.errors import StoreError, TransientError
from assets.release import STEP
from assets.store.runner import Runner
from assets.store.step import LogEntry, Settlement
from assets.store.store import Store
from tests.cli.chain import Tiny, settle
from tests.cli.conftest import Freshtune


class KilledError(BaseException):
    """Stands for a process that is gone."""


@pytest.fixture
def trained(freshtune: Freshtune, tiny: Tiny) -> Tiny:
    """Version 1, promoted (f1 0.9), version 2, refused (0.4), version 3, promoted (0.95) and champion."""
    tiny.config["gate"] = {"floor": 0.8}
    for f1 in (0.9, 0.4, 0.95):
        tiny.write(f1=f1)
        assert freshtune("run", "tiny", "--json").exit_code == 0
    return tiny


def listed(freshtune: Freshtune) -> Any:
    return json.loads(freshtune("models", "tiny", "--json").stdout)


def test_json(freshtune: Freshtune, trained: Tiny) -> None:
    found = listed(freshtune)
    entries = trained.open_runner("tiny").store.log("test", "tiny")
    digests = [entry.fields["challenger"] for entry in entries]
    assert {name: found[name] for name in ("pipeline", "champion")} == {"pipeline": "tiny", "champion": 3}
    for version in found["versions"]:
        assert version.pop("report").endswith("/report.html")
        assert version.pop("when").startswith("20")
    assert found["versions"] == [
        {
            "version": number,
            "model": digests[number - 1],
            "alias": {3: "champion", 1: "previous"}.get(number),
            "decision": "refused" if number == 2 else "promoted",
            "metrics": {"accuracy": 1.0, "f1_macro": f1},
        }
        for number, f1 in ((3, 0.95), (2, 0.4), (1, 0.9))
    ]
    for entry in found["log"]:
        assert "@" in entry.pop("by")
        assert entry.pop("when").startswith("20")
    refusal = "macro F1 0.4000; at least 0.8000 is required"
    assert found["log"] == [
        {
            "number": number,
            "kind": "decision",
            "decision": decision,
            "challenger": number + 1,
            "champion": champion,
            "why": why,
        }
        for number, (decision, champion, why) in enumerate(
            [("promoted", 1, ""), ("refused", 1, refusal), ("promoted", 3, "")]
        )
    ]


def test_table(freshtune: Freshtune, trained: Tiny) -> None:
    rows = [line.split() for line in freshtune("models", "tiny").stdout.splitlines()]
    assert rows[1] == ["version", "alias", "gate", "macro", "F1", "when", "model"]
    assert rows[2][:4] == ["3", "champion", "promoted", "0.9500"]
    assert rows[3][:3] == ["2", "refused", "0.4000"]


def test_none_yet(freshtune: Freshtune, tiny: Tiny) -> None:
    result = freshtune("models", "tiny")
    assert result.exit_code == 0
    assert "No model yet. Next: freshtune run tiny" in result.stdout
    assert listed(freshtune) == {
        "pipeline": "tiny",
        "champion": None,
        "waiting": None,
        "versions": [],
        "log": [],
        "by_hand": [],
        "undelivered": None,
        "registry": None,
    }


def test_promote_and_rollback(freshtune: Freshtune, trained: Tiny) -> None:
    result = freshtune("models", "tiny", "promote", "2", "--why", "better on [short] texts")
    assert result.exit_code == 0, result.output
    assert "tiny version 2 is the champion." in result.stderr
    assert "promote, version 2 in use: better on [short] texts (" in result.stdout
    assert listed(freshtune)["champion"] == 2
    assert trained.open_runner("tiny").store.settled("test", "tiny")["champion"] == 2  # type: ignore[index]
    assert freshtune("models", "tiny", "rollback", "--why", "no, it is not").exit_code == 0
    found = listed(freshtune)
    assert found["champion"] == 3
    assert [entry["kind"] for entry in found["log"]] == ["decision"] * 3 + ["promote", "rollback"]
    assert found["log"][-1]["why"] == "no, it is not"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["promote", "9", "--why", "x"], "no version 9; there are 1, 2, 3"),
        (["promote", "3", "--why", "x"], "is the champion already"),
        (["promote"], "promote needs a version"),
        (["rollback", "2"], "rollback takes no version, and got 2"),
        (["list", "2"], "list takes no version, and got 2"),
        (["promote", "2"], "--why is missing"),
        (["remove", "2"], "remove"),
        (["promote", "two", "--why", "x"], "'two' is no version"),
        (["diff", "1"], "diff needs two versions, and got 1"),
        (["lineage"], "lineage needs a version"),
        (["adopt"], "adopt needs a model"),
        (["adopt", "folder", "--why", "x"], "is the champion already"),
    ],
)
def test_wrong_use(freshtune: Freshtune, trained: Tiny, arguments: list[str], message: str) -> None:
    before = listed(freshtune)
    result = freshtune("models", "tiny", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert listed(freshtune) == before


def test_rollback_without_a_champion_before(freshtune: Freshtune, tiny: Tiny) -> None:
    assert "there is no champion" in freshtune("models", "tiny", "rollback", "--why", "x").stderr
    freshtune("run", "tiny")
    result = freshtune("models", "tiny", "rollback", "--why", "x")
    assert result.exit_code == 2
    assert "is the first champion" in result.stderr


def test_the_reason_is_asked_for(freshtune: Freshtune, trained: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_changes, "_interactive", lambda: True)
    result = freshtune("models", "tiny", "rollback", input="customers complain\n")
    assert result.exit_code == 0
    assert listed(freshtune)["log"][-1]["why"] == "customers complain"
    # What cannot be done is refused before anybody is asked.
    assert "no version 9" in freshtune("models", "tiny", "promote", "9", input="").stderr


def test_two_at_once(freshtune: Freshtune, trained: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    before = listed(freshtune)
    monkeypatch.setattr(Store, "append", lambda *_: False)
    result = freshtune("models", "tiny", "rollback", "--why", "x")
    assert result.exit_code == 1
    assert "the promotion log changed at this very moment, and nothing was done" in result.stderr
    assert listed(freshtune) == before


def test_the_registry_cannot_be_reached(freshtune: Freshtune, trained: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(_: Runner) -> None:
        raise TransientError("no answer", where="http://mlflow", fix="wait")

    with monkeypatch.context() as patch:
        patch.setattr(Runner, "settle", unreachable)
        result = freshtune("models", "tiny", "rollback", "--why", "x")
    assert result.exit_code == 1
    assert "http://mlflow: the promotion log says so, but the registry does not yet: no answer" in result.stderr
    assert "fix: wait; `freshtune run tiny` brings the registry in line" in result.stderr
    assert listed(freshtune)["champion"] == 1
    assert "The registry lacks the last 1 of the promotion log" in freshtune("models", "tiny").stderr


def test_all_pipelines(freshtune: Freshtune, trained: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_list, "pipeline_names", lambda _: ["tiny", "other"])
    assert json.loads(freshtune("models", "--json").stdout) == {
        "pipelines": [
            {"pipeline": "tiny", "champion": 3, "models": 3},
            {"pipeline": "other", "champion": None, "models": 0},
        ]
    }
    rows = [line.split() for line in freshtune("models").stdout.splitlines()]
    assert rows == [["pipeline", "champion", "models"], ["tiny", "version", "3", "3"], ["other", "none", "yet", "0"]]


def test_an_accepted_challenger_waits_for_a_person(freshtune: Freshtune, trained: Tiny) -> None:
    store = trained.open_runner("tiny").store
    entries = store.log("test", "tiny")
    # As the gate writes it where promotion is manual.
    fields = {**entries[2].fields, "decision": "accepted", "champion": entries[1].fields["champion"], "why": ""}
    store.append("test", "tiny", LogEntry(3, fields))
    trained.open_runner("tiny").settle()
    shown = freshtune("models", "tiny")
    assert "Version 3 was accepted by the gate and waits: freshtune models tiny promote 3" in shown.stderr
    assert "freshtune models tiny promote 3" in freshtune("run", "tiny").stdout
    assert (listed(freshtune)["waiting"], listed(freshtune)["champion"]) == (3, 1)
    assert freshtune("models", "tiny", "promote", "3", "--why", "looked at it").exit_code == 0
    assert (listed(freshtune)["waiting"], listed(freshtune)["champion"]) == (None, 3)
    assert "freshtune models tiny promote" not in freshtune("run", "tiny").stdout


@pytest.mark.parametrize("dies_in", ["settle", "settled", "append"])
def test_killed_anywhere(freshtune: Freshtune, trained: Tiny, monkeypatch: pytest.MonkeyPatch, dies_in: str) -> None:
    """Before the entry nothing happened; after it the next command brings the registry in line."""
    before = listed(freshtune)["champion"]

    def die(*_: Any, **__: Any) -> Any:
        raise KilledError

    target = {"append": (Store, "append"), "settle": (Runner, "settle"), "settled": (Store, "settle")}[dies_in]
    with monkeypatch.context() as patch:
        patch.setattr(*target, die)
        with pytest.raises(KilledError):
            freshtune("models", "tiny", "rollback", "--why", "x")
    runner = trained.open_runner("tiny")
    if dies_in == "append":
        assert listed(freshtune)["champion"] == before
        assert not runner.plan().to_run
        return
    assert listed(freshtune)["champion"] == 1
    assert runner.plan().to_run == ("release",)
    assert "The registry lacks the last 1 of the promotion log" in freshtune("models", "tiny").stderr
    assert freshtune("run", "tiny").exit_code == 0
    assert trained.open_runner("tiny").store.settled("test", "tiny")["champion"] == 1  # type: ignore[index]
    assert not trained.open_runner("tiny").plan().to_run


def test_two_rollbacks_at_once_are_one(freshtune: Freshtune, trained: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both read the log before either wrote: the second is told, and does not go back one champion further."""
    meet = threading.Barrier(2)
    real = Store.append

    def together(store: Store, environment: str, pipeline: str, made: LogEntry) -> bool:
        meet.wait(60)
        return real(store, environment, pipeline, made)

    monkeypatch.setattr(Store, "append", together)

    def back(_: int) -> str:
        try:
            model_changes.rollback(trained.open_runner("tiny"), "x")
        except StoreError as error:
            return error.what
        return "done"

    with ThreadPoolExecutor(2) as pool:
        told = sorted(pool.map(back, range(2)))
    assert told == ["done", "the promotion log changed at this very moment, and nothing was done"]
    assert listed(freshtune)["champion"] == 1
    assert [entry["kind"] for entry in listed(freshtune)["log"]].count("rollback") == 1


def test_nobody_is_told_of_a_sample(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.config["registry"] = {"webhook": "NEWS_URL"}
    for sample, told in ((None, {"webhook": "NEWS_URL", "webhook_secret": None}), (5, {})):
        runner = tiny.open_runner("tiny", sample=sample)
        seen: list[Settlement] = []
        chain = [replace(step, settles_by=STEP.settles_by) for step in runner.chain]
        monkeypatch.setattr(runner, "chain", chain)
        monkeypatch.setattr("tests.cli.chain.settle", lambda given, seen=seen: seen.append(given) or {})
        runner.settle()
        assert [given.settings for given in seen] == [told]


def test_another_environment_is_left_alone(freshtune: Freshtune, trained: Tiny) -> None:
    """A branch or a developer's run never promotes in production, nor rolls it back."""
    store = trained.open_runner("tiny").store
    before = store.log("test", "tiny"), store.settled("test", "tiny")
    trained.home = replace(trained.home, environment="branch")
    assert listed(freshtune)["versions"] == []
    assert freshtune("run", "tiny").exit_code == 0
    trained.write(f1=0.97)
    assert freshtune("run", "tiny").exit_code == 0
    assert freshtune("models", "tiny", "rollback", "--why", "x").exit_code == 0
    assert len(store.log("branch", "tiny")) == 3
    assert (store.log("test", "tiny"), store.settled("test", "tiny")) == before


def test_news_that_was_not_delivered(freshtune: Freshtune, trained: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails no run, is said, and makes the next run try again."""

    def undelivered(settlement: Settlement) -> dict[str, Any]:
        return {**settle(settlement), "undelivered": {"number": len(settlement.entries) - 1, "why": "no answer"}}

    with monkeypatch.context() as patch:
        patch.setattr("tests.cli.chain.settle", undelivered)
        result = freshtune("models", "tiny", "rollback", "--why", "x")
    assert result.exit_code == 0
    assert "The webhook was not told: no answer. The next run tries again." in result.stderr
    assert "The webhook was not told of entry 3 of the promotion log" in result.stderr
    assert [str(reason) for reason in trained.open_runner("tiny").plan()["release"].reasons] == [
        "missing news of entry 3 of the promotion log"
    ]
    assert freshtune("run", "tiny").exit_code == 0
    assert not trained.open_runner("tiny").plan().to_run
    assert len(trained.open_runner("tiny").store.log("test", "tiny")) == 4, "nothing is decided again"


def test_intervals_where_there_are_such(freshtune: Freshtune, trained: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_list, "scores_of", lambda *_: {"intervals": {"f1_macro": [0.93, 0.97]}})
    assert "0.9500 (0.9300–0.9700)" in freshtune("models", "tiny").stdout
    assert listed(freshtune)["versions"][0]["intervals"] == {"f1_macro": [0.93, 0.97]}
