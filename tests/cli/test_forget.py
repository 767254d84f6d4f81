"""Forgetting rows, over the real steps up to `splits`; the log's decisions are written by hand."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import fsspec
import pytest
import yaml

from assets.cli import forget as forgetting
from assets.cli import held as forgotten_shards
from assets.cli.certificates import in_words
from assets.cli.doctor import forgotten_rows
from assets.cli.everywhere import holding
from assets.cli.scrubbing import Words, still_in
from assets.cli.trace import Wanted
from assets.errors import ConfigurationError
from assets.release import log
from assets.release.account import row_account
from assets.release.mlflow_access import speaking
from assets.session import open_runner
from assets.splits.rows import read_groups, read_side
from assets.splits.sides import SIDES
from assets.store import forgotten, lease
from assets.store.garbage import gc
from assets.store.storage import LocalStorage
from assets.store.store import Record
from assets.store.tables import as_ids, hexadecimal, read_tables
from assets.store.verification import verify
from tests.cli.conftest import Freshtune
from tests.cli.test_trace import PLAIN, STEPS, Project, project
from tests.grep import grep
from tests.tiny import make_object

__all__ = ["project"]

SECRET = "call Ann Example on 555 0199"
LONGER = f"{SECRET} or else"
SPACED = "call  Ann Example on\u00a0555 0199"


@pytest.fixture
def told(project: Project) -> Project:
    """A source that has the text in two files, beside others and once in a line that is no row."""
    project.write("b.csv", [(SECRET, "spam"), ("only for a while", "ham")])
    project.write("c.csv", [(SPACED, "spam"), ("a later message", "ham"), (LONGER, "ham")])
    with (project.folder / "data" / "c.csv").open("a", newline="") as stream:
        stream.write(f"{SECRET},spam,more\r\n")
    return project


def forget(freshtune: Freshtune, *wanted: str) -> dict[str, Any]:
    result = freshtune("rows", "tiny", "rule", "--forget", *wanted, "--why", "request 17", "--json")
    assert result.exit_code == 0, result.output + str(result.exception)
    *_, certificate = json.loads(result.stdout)["forgotten"]
    return dict(certificate)


def held(project: Project) -> list[Path]:
    """Files of freshtune that hold the text, where no longer one does."""
    words, longer = Words((SECRET, SPACED, f" {SPACED} "), ()), Words((LONGER,), ())
    found = words.wholly_in(project.folder / "home", project.folder / "pipelines")
    return [path for path in found if still_in(path, words, longer)]


def run(*steps: str) -> dict[str, Any]:
    runner = open_runner("tiny")
    return {name: runner.run_step(name).measurements for name in steps or STEPS}


def test_nothing_holds_the_text_any_more_and_the_source_cannot_bring_it_back(
    told: Project, freshtune: Freshtune
) -> None:
    told.decide("m1")
    before = run()
    assert held(told)
    certificate = forget(freshtune, "--text", SECRET)
    assert held(told) == []
    assert certificate["remains"]["store"] == certificate["remains"]["files"] == []
    assert {Path(path).name for path in certificate["remains"]["sources"]} == {"b.csv", "c.csv"}
    assert certificate["removed"]["rows"] == 3
    after = run()
    assert held(told) == []
    assert row_account(before)["missing"] == row_account(after)["missing"] == 0
    assert "forgotten" not in row_account(before)
    account = row_account(after)
    assert (account["forgotten"], account["read"]) == (3, row_account(before)["read"])
    # White space of another kind lets nothing in either.
    told.write("d.csv", [(f" {SPACED} ", "ham"), ("news", "ham")])
    account = row_account(run())
    assert (account["forgotten"], account["missing"]) == (4, 0)
    assert held(told) == []
    # Another text that begins alike is another text.
    assert holding([told.folder / "home" / "store"], [LONGER])
    assert verify(open_runner("tiny").store).faults == ()


def test_nothing_is_left_on_object_storage_nor_in_what_was_fetched_from_it(
    told: Project, freshtune: Freshtune, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = f"memory://forget-{tmp_path.name}"
    monkeypatch.setenv("FRESHTUNE_STORE", url)
    # Nothing longer that holds the text, and may stay.
    told.write("c.csv", [(SPACED, "spam"), ("a later message", "ham")])
    told.decide("m1")
    bucket, path = fsspec.core.url_to_fs(url)
    assert in_bucket(bucket, path, tmp_path)
    certificate = forget(freshtune, "--text", SECRET)
    assert certificate["removed"]["rows"] == 2
    assert in_bucket(bucket, path, tmp_path) == []
    assert grep(told.folder / "home", "Ann Example") == []
    account = row_account(run())
    assert (account["forgotten"], account["missing"]) == (2, 0)
    assert in_bucket(bucket, path, tmp_path) == []
    assert grep(told.folder / "home", "Ann Example") == []
    assert verify(open_runner("tiny").store).faults == ()


def in_bucket(bucket: Any, path: str, folder: Path) -> list[str]:
    """Files of a bucket that hold the text."""
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    bucket.get(path, str(copy), recursive=True)
    return grep(copy, "Ann Example")


def test_the_certificate_and_the_request_hold_keyed_hashes_only(told: Project, freshtune: Freshtune) -> None:
    told.decide("m1")
    certificate = forget(freshtune, "--text", SECRET)
    home = told.folder / "home"
    key = bytes.fromhex((home / forgotten.KEY).read_text())
    assert (home / forgotten.KEY).stat().st_mode & 0o777 == 0o600
    assert forgotten.hash_of(SPACED, key) in certificate["hashes"]
    page = (home / "certificates" / "forgotten-00000000.md").read_text()
    assert "request 17" in page
    assert certificate["hashes"][0] in page
    assert json.loads((home / "certificates" / "forgotten-00000000.json").read_bytes()) == certificate
    listed = freshtune("rows", "tiny", "forgotten")
    assert "00000000" in listed.stdout
    assert "done" in listed.stdout


def test_by_row_and_by_file(told: Project, freshtune: Freshtune) -> None:
    told.decide("m1")
    row = json.loads(freshtune("rows", "tiny", "trace", "--text", SECRET, "--json").stdout)["rows"][0]
    forget(freshtune, row["row_id"][:12])
    assert held(told) == []
    forget(freshtune, "--file", "data/b.csv")
    assert holding([told.folder / "home"], ["only for a while"]) == []
    account = row_account(run())
    assert account["missing"] == 0
    assert account["forgotten"] == 4


def test_models_are_marked_and_what_they_were_made_from_stays_known(told: Project, freshtune: Freshtune) -> None:
    made = told.decide("m1")
    runner = open_runner("tiny")
    sides = {side: read_side(made["splits"], side) for side in SIDES}
    (own,) = [side for side, rows in sides.items() if SECRET in rows["text"].to_pylist()]
    groups = read_groups(made["splits"], "test")["text"].to_pylist()
    certificate = forget(freshtune, "--text", SECRET)
    entries = runner.store.log(runner.environment, "tiny")
    assert [entry.fields["kind"] for entry in entries] == ["decision", "forgotten"]
    assert log.champion(entries) == "m1"
    assert log.aliases(entries)["champion"] == "m1"
    assert log.rolled_back(entries) == frozenset()
    (marked,) = log.marks(entries)["m1"]
    assert marked["rows"] == {own: 1}
    assert [each["model"] for each in certificate["models"]] == ["m1"]
    # Which other rows the model has seen must not be lost: no test set may have them.
    splits = runner.store.open("objects", log.decisions(entries, "m1")[0]["inputs"]["splits"])
    for side, rows in sides.items():
        rest = [each for each in rows.to_pylist() if each["text"] != SECRET]
        assert read_side(splits, side).to_pylist() == rest
    assert read_groups(splits, "test")["text"].to_pylist() == [text for text in groups if text != SECRET]
    gc(runner.store, work=told.folder / "home" / "work", keep=0, delete=True)
    assert runner.store.fault("objects", splits.name) is None


def test_texts_that_left_the_source_are_still_remembered(told: Project, freshtune: Freshtune) -> None:
    told.decide("m1")
    (told.folder / "data" / "b.csv").unlink()
    (told.folder / "data" / "c.csv").unlink()
    assert run()["raw"]["remembered"] == 5
    forget(freshtune, "--text", SECRET)
    assert held(told) == []
    assert run()["raw"]["remembered"] == 3
    assert held(told) == []


def test_the_plan_says_why_everything_is_stale(told: Project, freshtune: Freshtune) -> None:
    told.decide("m1")
    forget(freshtune, "--text", SECRET)
    raw, *rest = open_runner("tiny").plan("splits").steps
    assert raw.state == "stale"
    assert any(reason.what == "forgotten" for reason in raw.reasons)
    assert all(each.state in {"stale", "pending"} for each in rest)
    run()
    assert {each.state for each in open_runner("tiny").plan("splits").steps} == {"fresh"}


def test_rulings_reports_and_databases_are_cleaned(told: Project, freshtune: Freshtune) -> None:
    told.decide("m1")
    row = json.loads(freshtune("rows", "tiny", "trace", "--text", SECRET, "--json").stdout)["rows"][0]
    assert freshtune("rows", "tiny", "rule", row["row_id"], "--drop", "--why", "odd").exit_code == 0
    home = told.folder / "home"
    artifacts = home / "mlartifacts" / "tiny" / "run"
    artifacts.mkdir(parents=True)
    (artifacts / "report.html").write_text(f"<td>{SECRET}</td><td>ham</td>")
    (home / "work" / "abc").mkdir(parents=True)
    (home / "work" / "abc" / "rows.txt").write_text(SECRET)
    left = home / "store" / "staging" / "elsewhere-7-abc" / "content"
    left.mkdir(parents=True)
    (left / "rows.txt").write_text(SECRET)
    with closing(sqlite3.connect(home / "mlflow.db")) as database:
        database.execute("create table tags (name text, value text)")
        database.executemany("insert into tags values (?, ?)", [("a", f"say {SECRET}"), ("b", json.dumps([SECRET]))])
        database.execute("insert into tags values ('c', ?)", (SECRET,))
        database.commit()
        database.execute("delete from tags where name = 'c'")
        database.commit()
    forget(freshtune, "--text", SECRET)
    assert held(told) == []
    assert (artifacts / "report.html").read_text() == "<td>[forgotten]</td><td>ham</td>"
    assert not (home / "work" / "abc").exists()
    with closing(sqlite3.connect(home / "mlflow.db")) as database:
        values = database.execute("select value from tags order by name").fetchall()
    assert values == [("say [forgotten]",), ('["[forgotten]"]',)]
    assert (told.folder / "pipelines" / "tiny" / "rulings.jsonl").read_text() == ""


@pytest.fixture
def with_ids(told: Project) -> Project:
    """One whose rows have an id that they keep when they are corrected."""
    path = told.folder / "pipelines" / "tiny" / "defs.yaml"
    declared = yaml.safe_load(path.read_text())
    declared["attributes"] |= {
        "source": {"files": ["data/*.jsonl"], "columns": {"keep": ["id", "day"]}},
        "cleaning": {"near_duplicates": None, "id": "id", "newest_by": "day"},
    }
    path.write_text(yaml.safe_dump(declared))
    rows = [(str(at), text, label, "2026-01-01") for at, (text, label) in enumerate(PLAIN)]
    write_ids(told, "a", [*rows, ("ann", SECRET, "ham", "2026-01-02"), ("bob", SECRET, "ham", "2026-01-02")])
    return told


def write_ids(project: Project, name: str, rows: list[tuple[str, str, str, str]]) -> None:
    lines = [json.dumps(dict(zip(("id", "text", "label", "day"), row, strict=True))) for row in rows]
    (project.folder / "data" / f"{name}.jsonl").write_text("\n".join(lines))


def test_an_id_that_is_forgotten_stays_out_whatever_its_row_says_later(with_ids: Project, freshtune: Freshtune) -> None:
    write_ids(with_ids, "b", [("ann", "what Ann Example said before", "ham", "2026-01-01")])
    with_ids.decide("m1")
    rows = json.loads(freshtune("rows", "tiny", "trace", "--text", SECRET, "--json").stdout)["rows"]
    assert len(rows) == 2
    (of_ann,) = [row["row_id"] for row in rows if row["row_id"] in ids_with(with_ids, "ann")]
    certificate = forget(freshtune, of_ann)
    # Her own row of before is hers too; another's row with the same text goes for its text alone.
    assert holding([with_ids.folder / "home"], ["what Ann Example said before", SECRET]) == []
    (hashed,) = certificate["ids"]
    assert hashed.startswith("id=")
    assert "ann" not in json.dumps(certificate)
    account = row_account(run())
    assert (account["forgotten"], account["missing"]) == (3, 0)
    write_ids(
        with_ids,
        "c",
        [(" ann ", "what Ann Example says now", "ham", "2026-02-01"), ("bob", "a new word", "ham", "2026-02-01")],
    )
    account = row_account(run())
    assert (account["forgotten"], account["missing"]) == (4, 0)
    assert holding([with_ids.folder / "home"], ["what Ann Example says now"]) == []
    assert holding([with_ids.folder / "home" / "store"], ["a new word"])
    # Asked for again, nothing is left to do.
    assert forget(freshtune, "--text", SECRET) == certificate


def test_an_id_means_nothing_in_another_pipeline(with_ids: Project, freshtune: Freshtune) -> None:
    with_ids.decide("m1")
    forget(freshtune, "--text", SECRET)
    runner = open_runner("tiny")
    mine, others = (
        forgotten.observe(runner.store, runner.home.path, name)["forgotten"].values for name in ("tiny", "other")
    )
    assert len(mine) == len(others) + 2
    assert set(others) < set(mine)


def ids_with(project: Project, which: str) -> set[str]:
    """row_ids of the rows with an id."""
    runner = open_runner("tiny")
    found: set[str] = set()
    for shard in forgotten_shards.shards_of(runner.store, "tiny"):
        table = read_tables([shard], "rows.feather")
        names = hexadecimal(as_ids(read_tables([shard], "ids.feather")["row_id"])).to_pylist()
        found |= {name for name, each in zip(names, table["id"].to_pylist(), strict=True) if each == which}
    return found


class Killed(BaseException):
    """Stands for the end of the process."""


def interrupted(monkeypatch: pytest.MonkeyPatch, at: int) -> Callable[[], int]:
    """Let the process end before its removal, replacement or creation number `at`; returns how many there were."""
    count = 0

    def counting(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal count
            if arguments[1].partition("/")[0] != "leases":
                count += 1
                if count == at:
                    raise Killed
            return original(*arguments)

        return call

    for name in ("remove", "replace", "create"):
        monkeypatch.setattr(LocalStorage, name, counting(getattr(LocalStorage, name)))
    return lambda: count


def test_killed_at_any_point_the_same_command_completes_it(
    told: Project, freshtune: Freshtune, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    told.decide("m1")
    home, saved = told.folder / "home", tmp_path_factory.mktemp("saved") / "home"
    shutil.copytree(home, saved)
    at = 0
    while True:
        at += 1
        with monkeypatch.context() as patch:
            points = interrupted(patch, at)
            with suppress(Killed):
                forgetting.forget(open_runner("tiny"), Wanted([], SECRET, None), "request 17")
            if points() < at:
                break
        if pending := [each for each in forgotten.requests(open_runner("tiny").store) if not each.certificate]:
            with pytest.raises(ConfigurationError, match="to forget rows is unfinished"):
                open_runner("tiny").plan("splits")
            assert pending[0].number == 0
            # Even without the text the rest is found.
            result = freshtune("rows", "tiny", "rule", "--forget")
            assert result.exit_code == 0, result.output
        certificate = forget(freshtune, "--text", SECRET)
        assert held(told) == [], at
        assert certificate["removed"]["rows"] == 3
        entries = open_runner("tiny").store.log("default", "tiny")
        assert [entry.fields["kind"] for entry in entries] == ["decision", "forgotten"], at
        shutil.rmtree(home)
        shutil.copytree(saved, home)
    assert at > 15


@pytest.mark.parametrize("killed_in", [None, "_references", "_remove"])
def test_a_model_that_has_rows_from_the_one_it_was_started_from_is_marked_and_trained_anew(
    told: Project, freshtune: Freshtune, monkeypatch: pytest.MonkeyPatch, killed_in: str | None
) -> None:
    first = told.decide("m1")
    text = read_side(first["splits"], "train")["text"].to_pylist()[0]
    runner = open_runner("tiny")
    store = runner.store
    # The row is gone from the source when the second model is made.
    told.write("a.csv", [row for row in PLAIN if row[0] != text])
    (told.folder / "data" / "b.csv").unlink()
    (told.folder / "data" / "c.csv").unlink()
    ancestors = [{"model": "m1", "splits": [first["splits"].name]}]
    models = {
        name: make_object(store, {"model/config.json": {"name": name}, "history.json": {"ancestors": inherited}})
        for name, inherited in (("carrier", ancestors), ("clean", []))
    }
    for model in models.values():
        second = told.decide(model)
    assert text not in read_side(second["splits"], "train")["text"].to_pylist()
    trace = make_object(store, {"t.json": 1})
    made = {"step": "model", "inputs": {"splits": second["splits"].name}, "configuration": {}}
    for name, model in models.items():
        record = store.add_record(Record(f"key-of-{name}", model, trace, made, {}, 1.0, 1.0, "ada"), after=None)
        store.refer(runner.environment, "tiny", name, record)
    if killed_in is not None:

        def killed(*_: Any) -> None:
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(forgetting._Forgetting, killed_in, killed)
            with pytest.raises(Killed):
                forgetting.forget(open_runner("tiny"), Wanted([], text, None), "request 17")

    certificate = forget(freshtune, "--text", text)

    entries = store.log(runner.environment, "tiny")
    marks = {model: [each["rows"] for each in found] for model, found in log.marks(entries).items()}
    assert marks == {"m1": [{"train": 1}], models["carrier"]: [{"train": 1}]}
    assert {each["model"] for each in certificate["models"]} == marks.keys()
    # Its key names splits without the row, and would find it again.
    assert store.record("key-of-carrier") is None
    assert store.reference(runner.environment, "tiny", "carrier") is None
    assert store.record("key-of-clean") is not None
    assert store.reference(runner.environment, "tiny", "clean") is not None
    assert store.fault("objects", models["carrier"]) is None, "it stays in use"


# MLflow 3.17 asks SQLAlchemy 2.1 for a strategy that goes away in 2.2.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")
def test_an_mlflow_that_somebody_set_up_is_in_the_certificate_though_it_was_killed(
    told: Project, freshtune: Freshtune, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    with speaking(uri) as client:
        run_id = client.create_run(client.create_experiment("tiny", folder.as_uri())).info.run_id
        client.set_tag(run_id, "note", SECRET)
        client.set_tag(run_id, "other", f"it says {SECRET}")
        client.log_param(run_id, "said", SECRET)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    # Its database is out of reach but for the client, as a server's is.
    monkeypatch.setattr(forgetting, "LOCAL", "nothing://")
    told.decide("m1")

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(forgetting._Forgetting, "_references", killed)
        with pytest.raises(Killed):
            forgetting.forget(open_runner("tiny"), Wanted([], SECRET, None), "request 17")
    certificate = forget(freshtune, "--text", SECRET)
    tags = [f"{uri}: run {run_id}, tag {name}" for name in ("note", "other")]
    assert certificate["removed"]["tracked"] == tags
    assert certificate["remains"]["tracked"] == [f"{uri}: run {run_id}, parameter said"]
    page = in_words(certificate)
    assert f"- in MLflow: {tags[0]}" in page
    assert f"- still in MLflow, which lets nobody change it: {uri}: run {run_id}, parameter said" in page


def test_a_short_text_that_is_a_label_too(told: Project, freshtune: Freshtune) -> None:
    told.write("e.csv", [("ham", "ham")])
    told.decide("m1")
    before = row_account(run())
    certificate = forget(freshtune, "--text", "ham")
    assert certificate["removed"]["rows"] == 1
    after = row_account(run())
    assert (after["forgotten"], after["kept"]) == (1, before["kept"] - 1)
    traced = freshtune("rows", "tiny", "trace", "--text", "ham")
    assert traced.exit_code == 2
    assert "no row of any model or of the source as it was last read is meant" in traced.stderr


def test_doctor_says_what_is_unfinished(told: Project, freshtune: Freshtune) -> None:
    told.decide("m1")
    settings = open_runner("tiny").home
    assert list(forgotten_rows(settings)) == []
    forget(freshtune, "--text", SECRET)
    (found,) = forgotten_rows(settings)
    # The text, and the line that is no row.
    assert (found.state, found.message) == ("ok", "2 texts are kept out")
    (told.folder / "home" / "store" / "forgotten" / "00000000.done.json").unlink()
    (found,) = forgotten_rows(settings)
    assert found.state == "wrong"
    assert "to forget rows is unfinished" in found.message
    assert found.fix == "freshtune rows tiny rule --forget"


def test_a_run_under_way_is_waited_for(told: Project, freshtune: Freshtune, monkeypatch: pytest.MonkeyPatch) -> None:
    told.decide("m1")
    monkeypatch.setattr(lease, "workers", lambda _: ["process 7 on here"])
    result = freshtune("rows", "tiny", "rule", "--forget", "--text", SECRET, "--why", "x")
    assert result.exit_code == 1
    assert "a run is under way (process 7 on here), and would write again what is to be forgotten" in result.stderr
    assert forgotten.requests(open_runner("tiny").store) == []


def test_a_lost_key_stops_every_plan(told: Project, freshtune: Freshtune) -> None:
    told.decide("m1")
    forget(freshtune, "--text", SECRET)
    path = told.folder / "home" / forgotten.KEY
    path.unlink()
    with pytest.raises(ConfigurationError, match="the secret key .* that tells them is not here"):
        open_runner("tiny").plan("splits")
    forgotten.make_key(told.folder / "home")
    with pytest.raises(ConfigurationError, match="the forgotten texts of the store are told by key"):
        open_runner("tiny").plan("splits")
    path.write_text("no key")
    with pytest.raises(ConfigurationError, match="it is no key: 6 characters; accepted: 64 hexadecimal digits"):
        open_runner("tiny").plan("splits")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("rule", "--forget"), "--forget needs rows; nothing is unfinished"),
        (("rule", "--forget", "--text", "x"), "--why is missing"),
        (("rule", "--forget", "--drop", "abc"), "--forget is for rule, with ROW_ID, --text or --file"),
        (("trace", "--forget", "abc"), "--forget is for rule"),
        (("forgotten", "abc"), "forgotten takes --json"),
        (("rule", "--forget", "ffff", "--why", "x"), "no row that the store has is meant by ffff"),
    ],
)
def test_wrong_use(told: Project, freshtune: Freshtune, options: tuple[str, ...], said: str) -> None:
    told.decide("m1")
    result = freshtune("rows", "tiny", *options)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
