"""What holds along any history of a source: nothing that was once trained on is in a later test set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from assets.chain import chain_of
from assets.cleaned.rows import read_rows
from assets.cli.doubtful import quarantined
from assets.config.home import home
from assets.config.pipeline import Pipeline
from assets.splits.rows import read_side
from assets.store.runner import Runner
from assets.store.store import Store
from tests.cleaned.oracle import similar

WORDS = st.lists(st.sampled_from("abcdefgh"), min_size=3, max_size=6).map(" ".join)
USERS = st.sampled_from(["", "ann", "bob", "cid"])
DAYS = st.sampled_from(["2026-01-05", "2026-02-05", "2026-03-05"])
BY: dict[str, dict[str, Any]] = {
    "hash": {},
    "user": {"group_by": "user"},
    "time": {"by_time": {"column": "day", "validation_from": "2026-02-01", "test_from": "2026-03-01"}},
}
Row = tuple[str, str, str, str]
FILES = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.lists(st.tuples(WORDS, st.sampled_from(["ham", "spam", "unknown"]), USERS, DAYS), min_size=1, max_size=8),
    min_size=1,
)
# Enough of either label on every side, far from all other texts.
FILLER = [
    (f"{label} {number} only here {number * 7}", label, "", f"2026-0{1 + number % 3}-15")
    for number in range(60)
    for label in ("ham", "spam")
]
SHARES = {"validation": 0.2, "test": 0.4}
# An example takes a second, so a failing one is shown as it is.
HISTORY = settings(
    deadline=None,
    derandomize=True,
    max_examples=5,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def runner_of(folder: Path, *, machine: str = "home", store: str | None = None, **changed: Any) -> Runner:
    config = Pipeline.model_validate(
        {
            "task": {"labels": ["ham", "spam"]},
            "source": {
                "files": [str(folder / "*.csv")],
                "columns": {"keep": [changed.pop("user", "user"), "day"]},
                "mode": changed.pop("mode", "mirror"),
            },
            "base_model": {"name": "none"},
            # A row that gets a label which the task does not have is in quarantine from then on.
            "validation": {"max_quarantined": 1.0},
            "cleaning": {"near_duplicates": {"similarity": 0.6, "ngram": 1}},
            "splits": {"min_rows_per_label": 1, **({} if "by_time" in changed else SHARES), **changed},
        }
    )
    settled = home({"FRESHTUNE_HOME": str(folder / machine), **({} if store is None else {"FRESHTUNE_STORE": store})})
    return Runner(Store(settled.store, settled.path / "cache"), chain_of(config)[:4], "tiny", config, settled)


def write(folder: Path, files: dict[str, list[Row]], user: str = "user") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.csv"):
        path.unlink()
    for name, rows in {**files, "filler": FILLER}.items():
        lines = "".join(f"{','.join(row)}\n" for row in rows)
        (folder / f"{name}.csv").write_text(f"text,label,{user},day\n{lines}")


def split(runner: Runner) -> dict[str, list[dict[str, Any]]]:
    for step in runner.plan().to_run:
        runner.run_step(step)
    standing = runner.standing("splits")
    assert standing is not None
    assert runner.plan().to_run == ()
    content = runner.store.open("objects", standing.record.content)
    return {side: read_side(content, side).to_pylist() for side in ("train", "validation", "test")}


@HISTORY
@given(st.lists(FILES, min_size=2, max_size=4), st.sampled_from(sorted(BY)))
def test_no_text_that_was_trained_on_nor_a_near_duplicate_of_it_is_in_a_later_test_set(
    tmp_path_factory: pytest.TempPathFactory, histories: list[dict[str, list[Row]]], by: str
) -> None:
    folder = tmp_path_factory.mktemp("history")
    trained: dict[str, set[str]] = {}
    for files in histories:
        write(folder, files)
        sides = split(runner_of(folder, **BY[by]))
        for row in sides["test"]:
            assert row["text"] not in trained
            assert not any(similar(row["text"], text, 0.6, 1) for text in trained)
            if by == "user" and row["user"]:
                assert not any(row["user"] in users for users in trained.values())
        for row in sides["train"]:
            trained.setdefault(row["text"], set()).update({row["user"]} - {""})
        seen = [row["text"] for rows in sides.values() for row in rows]
        assert len(set(seen)) == len(seen)


@HISTORY
@given(st.lists(FILES, min_size=2, max_size=4))
def test_where_files_are_appended_the_rows_are_those_of_all_files_that_ever_were(
    tmp_path_factory: pytest.TempPathFactory, histories: list[dict[str, list[Row]]]
) -> None:
    folder, together = tmp_path_factory.mktemp("append"), tmp_path_factory.mktemp("together")
    for files in histories:
        write(folder, files)
        split(runner_of(folder, mode="append"))
    write(together, {f"{at}{name}": rows for at, files in enumerate(histories) for name, rows in files.items()})
    one, other = runner_of(folder, mode="append"), runner_of(together, mode="append")
    split(other)
    contents = []
    for runner in (one, other):
        standing = runner.standing("cleaned")
        assert standing is not None
        contents.append(read_rows(runner.store.open("objects", standing.record.content)).to_pylist())
    assert contents[0] == contents[1]


def test_a_column_may_get_another_name(tmp_path: Path) -> None:
    files = {"a": [("a b c", "ham", "ann", "2026-01-05"), ("d e f", "spam", "ann", "2026-01-05")]}
    write(tmp_path, files)
    before = split(runner_of(tmp_path, group_by="user"))
    write(tmp_path, files, user="author")
    after = split(runner_of(tmp_path, group_by="author", user="author"))
    for side, rows in before.items():
        assert after[side] == [{"author" if name == "user" else name: row[name] for name in row} for row in rows]


def test_what_is_gone_stays_remembered_where_the_store_has_lost_what_was_before(tmp_path: Path) -> None:
    write(tmp_path, {"a": [("a b c", "ham", "", "2026-01-05")], "b": [("d e f", "spam", "", "2026-01-05")]})
    first = runner_of(tmp_path).run_step("raw").record
    write(tmp_path, {"b": [("d e f", "spam", "", "2026-01-05")]})
    second = runner_of(tmp_path).run_step("raw")
    assert second.measurements["remembered"] == 1
    runner = replace(runner_of(tmp_path), forced=frozenset({"raw"}))
    runner.store.storage.remove(f"objects/{first.content[:2]}/{first.content}")
    again = runner.run_step("raw")
    assert again.action == "built"
    assert again.record.content == second.record.content
    assert runner_of(tmp_path).plan("raw").to_run == ()


def test_where_rows_came_from_is_known_on_another_machine(tmp_path: Path) -> None:
    bad, good = ("bad label here", "unknown", "", "2026-01-05"), ("d e f", "spam", "", "2026-01-05")
    write(tmp_path, {"a": [good, bad]})
    store = f"memory://{tmp_path.name}"
    runner_of(tmp_path, store=store).run_step("raw")
    # The same rows lie in other shards now, and the content that stands refers to those of before.
    write(tmp_path, {"a": [good], "b": [bad]})
    for step in ("raw", "validated"):
        runner_of(tmp_path, store=store).run_step(step)
    (row,) = quarantined(runner_of(tmp_path, machine="elsewhere", store=store))
    assert (Path(row.file or "").name, row.line) == ("b.csv", 2)


def test_of_two_runs_at_once_the_second_remembers_what_the_first_saw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"a": [("a b c", "ham", "", "")]})
    slow, quick = runner_of(tmp_path), runner_of(tmp_path)
    slow.observe(slow.step("raw"))
    # Only the other run sees this file before it is taken away.
    write(tmp_path, {"a": [("a b c", "ham", "", "")], "b": [("d e f", "spam", "", "")]})
    make = slow.made

    def overtaken(*given: Any) -> Any:
        found = make(*given)
        monkeypatch.setattr(slow, "made", make)
        quick.run_step("raw")
        return found

    monkeypatch.setattr(slow, "made", overtaken)
    slow.run_step("raw")
    write(tmp_path, {"a": [("a b c", "ham", "", "")]})
    assert runner_of(tmp_path).run_step("raw").measurements["remembered"] == 1
