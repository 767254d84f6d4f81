"""News of a champion goes to a real server on loopback: signed, tried again, once for each entry of the log."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from assets.config.registry import Registry
from assets.release import log, registry, webhook
from assets.store.step import LogEntry
from tests.release.material import METRICS, WHEN, entry
from tests.release.test_registry import Place, place  # noqa: F401 - a fixture

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

SETTINGS = {"webhook": "NEWS_URL", "webhook_secret": "NEWS_SECRET"}
SIGNED = {"by": "ada", "when": WHEN, "why": "asked for"}


class Receiver:
    """What a server got, and what it answers next; 204 where nothing is left to say."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(data) for _, data in self.got]


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            made.got.append(({name.lower(): value for name, value in self.headers.items()}, data))
            self.send_response(made.answers.pop(0) if made.answers else 204)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(webhook, "WAIT_SECONDS", 0.01)
    monkeypatch.setenv("NEWS_URL", f"http://127.0.0.1:{server.server_port}/hook?token=hidden")
    monkeypatch.setenv("NEWS_SECRET", "whsec_" + base64.b64encode(b"key").decode())
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def post(body: dict[str, Any], **changed: Any) -> str | None:
    return webhook.post(body, **{"identifier": "id-1", "url_in": "NEWS_URL", "secret_in": "NEWS_SECRET", **changed})


def test_signed_as_standard_webhooks_says(receiver: Receiver) -> None:
    assert post({"b": 1, "a": "ä"}) is None
    ((headers, data),) = receiver.got
    assert json.loads(data) == {"a": "ä", "b": 1}
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + data
    due = base64.b64encode(hmac.new(b"key", signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{due}"
    assert headers["content-type"] == "application/json"


def test_the_specification_s_own_example() -> None:
    """From the specification of Standard Webhooks."""
    secret, data = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", b'{"event_type":"ping"}'
    key = base64.b64decode("C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
    due = base64.b64encode(hmac.new(key, b"msg_1.1731705121." + data, hashlib.sha256).digest()).decode()
    assert webhook.sign(secret, "msg_1", "1731705121", data) == f"v1,{due}"
    assert webhook.sign("plain", "msg_1", "1", data) != webhook.sign("other", "msg_1", "1", data)


def test_without_a_secret_it_is_not_signed(receiver: Receiver) -> None:
    assert post({}, secret_in=None) is None
    assert "webhook-signature" not in receiver.got[0][0]


def test_tried_again(receiver: Receiver) -> None:
    receiver.answers = [503, 500]
    assert post({}) is None
    assert len(receiver.got) == 3
    assert {headers["webhook-id"] for headers, _ in receiver.got} == {"id-1"}


@pytest.mark.parametrize(
    ("answers", "why"), [([500] * 3, "answers 500"), ([404], "answers 404"), ([302], "answers 302")]
)
def test_not_delivered(receiver: Receiver, answers: list[int], why: str) -> None:
    """A redirect leads to a stranger, and is not followed."""
    receiver.answers = list(answers)
    assert post({}) == f"what NEWS_URL names {why}"
    assert len(receiver.got) == len(answers)


def test_why_not_and_no_secret_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "WAIT_SECONDS", 0.0)
    monkeypatch.setenv("NEWS_URL", "http://127.0.0.1:9/hidden")
    assert post({}, secret_in=None) == "what NEWS_URL names cannot be reached (ConnectionError)"
    assert post({}) == "the environment variable NEWS_SECRET is not set, and nothing is sent unsigned"
    monkeypatch.setenv("NEWS_SECRET", "whsec_ä")
    assert post({}) == "what NEWS_SECRET holds begins with whsec_ and does not go on in base64"
    monkeypatch.setenv("NEWS_URL", "hidden")
    assert post({}, secret_in=None) == "what NEWS_URL names cannot be reached (MissingSchema)"
    monkeypatch.delenv("NEWS_URL")
    assert post({}) == "the environment variable NEWS_URL is not set"


class World:
    """A pipeline whose log grows, settled again and again."""

    def __init__(self, place: Place, name: str) -> None:  # noqa: F811 - a fixture
        self.place, self.name = place, name
        self.entries: list[LogEntry] = []
        self.settled: dict[str, Any] = {}

    def settle(self, settings: dict[str, str] | None = None) -> dict[str, Any]:
        made = self.place.settlement(self.name, self.entries, settled=self.settled, settings=settings or SETTINGS)
        found = registry.settle(made)
        self.settled = {**found, "number": len(self.entries) - 1}
        return found

    def speak(self, fields: dict[str, Any]) -> None:
        self.entries.append(LogEntry(len(self.entries), fields))


def test_each_new_champion_is_told_once(place: Place, receiver: Receiver) -> None:  # noqa: F811 - a fixture
    world = World(place, "told")
    world.entries = [entry(0, "a", "a"), entry(1, "b", "a")]
    assert world.settle()["undelivered"] is None
    (body,) = receiver.bodies
    assert body == {
        "type": "model.champion",
        "pipeline": "told",
        "environment": "default",
        "number": 0,
        "kind": "decision",
        "decision": "promoted",
        "name": "told",
        "version": 1,
        "previous_version": None,
        "digests": {"model": "a", "splits": "splits-of-a", "evaluation": "evaluation-of-a"},
        "metrics": dict.fromkeys(METRICS, 0.75),
        "who": "ada",
        "when": WHEN,
        "why": "because",
        "url": None,
    }
    world.settle()
    assert len(receiver.got) == 1
    world.speak(log.promote(world.entries, "b", **SIGNED))
    world.speak(log.rollback(world.entries, **SIGNED))
    world.settle()
    told = [(each["kind"], each["version"], each["previous_version"]) for each in receiver.bodies[1:]]
    assert told == [("promote", 2, 1), ("rollback", 1, 2)]
    assert receiver.bodies[2]["why"] == "asked for"
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 3


def test_what_could_not_be_told_is_told_later_in_order(place: Place, receiver: Receiver) -> None:  # noqa: F811
    world = World(place, "later")
    world.entries = [entry(0, "a", "a")]
    receiver.answers = [404]
    assert world.settle()["undelivered"] == {"number": 0, "why": "what NEWS_URL names answers 404"}
    world.entries.append(entry(1, "b", "b"))
    assert world.settle()["undelivered"] is None
    assert [body["version"] for body in receiver.bodies] == [1, 1, 2]


def test_old_news_is_no_news(place: Place, receiver: Receiver) -> None:  # noqa: F811 - a fixture
    """A webhook that is declared later is told of nothing that was settled before."""
    world = World(place, "old")
    world.entries = [entry(0, "a", "a")]
    world.settle({"webhook": None})  # type: ignore[dict-item]
    world.settle()
    assert receiver.got == []
    world.entries.append(entry(1, "b", "b"))
    world.settle()
    assert [body["number"] for body in receiver.bodies] == [1]


def test_nobody_is_told_while_mlflow_is_away(place: Place, receiver: Receiver) -> None:  # noqa: F811 - a fixture
    from assets.errors import TransientError

    settlement = place.settlement("away", [entry(0, "a", "a")], settings=SETTINGS)
    with pytest.raises(TransientError):
        registry.settle(replace(settlement, tracking_uri="http://127.0.0.1:9"))
    assert receiver.got == []


def test_a_secret_without_a_webhook_is_refused() -> None:
    with pytest.raises(ValueError, match="webhook_secret signs what webhook sends, which is not set"):
        Registry(webhook_secret="NEWS_SECRET")
    with pytest.raises(ValueError, match="String should match pattern"):
        Registry(webhook="https://example.org/hook")
