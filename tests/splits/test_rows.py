from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.errors import DamagedError
from assets.splits.rows import count_new, dataset, read_groups, read_places, read_side, read_sides, read_some
from assets.splits.sides import SIDES
from assets.store.code import code_pieces
from assets.store.links import linked
from assets.store.store import Store
from assets.store.tables import read_tables
from tests.tiny import make_rows, make_splits

ROWS = make_rows(20, seed=0)
IDS = [f"{at:032x}" for at in range(20)]
CUTS = {"train": slice(0, 12), "validation": slice(12, 16), "test": slice(16, 20)}


def expect(splits: Path, rows: Sequence[tuple[str, str]] = ROWS) -> None:
    for side, cut in CUTS.items():
        columns = {"row_id": IDS[cut], "text": [text for text, _ in rows[cut]], "label": [at for _, at in rows[cut]]}
        assert read_side(splits, side).to_pydict() == {**columns, "group": IDS[cut]}


@pytest.mark.parametrize("url", ["local", "memory://sides"])
def test_rows_are_read_from_the_shards_wherever_the_store_is(tmp_path: Path, url: str) -> None:
    store = Store(str(tmp_path / "store") if url == "local" else url, tmp_path / "cache")
    digest = make_splits(store, ROWS).name
    # Another machine: nothing is in its cache yet.
    splits = Store(store.url, tmp_path / "elsewhere").open("objects", digest)
    expect(splits)
    texts = read_tables(linked(splits, "prepared"), "texts.feather")["text"]
    for side in CUTS:
        rows, places = read_side(splits, side), read_places(splits, side)
        assert places.select(["row_id", "label"]) == rows.select(["row_id", "label"])
        assert texts.take(places["at"]).to_pylist() == rows["text"].to_pylist()
    sides = read_sides(splits).to_pydict()
    assert (sides["row_id"], sides["group"]) == (IDS, IDS)
    assert sides["side"] == ["train"] * 12 + ["validation"] * 4 + ["test"] * 4


def test_splits_of_before_rows_lay_in_shards_are_read(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features(
        {
            "row_id": datasets.Value("string"),
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["spam", "ham"]),
            "group": datasets.Value("string"),
        }
    )
    sides = {
        side: datasets.Dataset.from_dict(
            {"row_id": ids, "text": [text for text, _ in rows], "label": [label for _, label in rows], "group": ids},
            features=features,
        )
        for side, cut in CUTS.items()
        for ids, rows in [(IDS[cut], ROWS[cut])]
    }
    datasets.DatasetDict(sides).save_to_disk(tmp_path / "dataset")
    of = [side for side, cut in CUTS.items() for _ in IDS[cut]]
    pq.write_table(pa.table({"row_id": IDS, "group": IDS, "side": of}), tmp_path / "sides.parquet")
    expect(tmp_path)
    assert read_sides(tmp_path)["side"].to_pylist() == of
    assert count_new(tmp_path, None) == len(ROWS)


def test_of_some_rows_only_their_shards_are_unpacked(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = make_splits(store, ROWS)
    unpacked: list[str] = []

    def counted(folders: Sequence[Path], file: str, columns: Sequence[str] | None = None) -> pa.Table:
        unpacked.append(file)
        return read_tables(folders, file, columns)

    monkeypatch.setattr("assets.splits.rows.read_tables", counted)
    found = read_some(splits, pa.chunked_array([[IDS[1]]]))
    assert found.to_pylist() == [dict(zip(("text", "label"), ROWS[1], strict=True))]
    # Of two shards.
    assert unpacked.count("ids.feather") == 2
    assert unpacked.count("texts.feather") == 1


def test_what_is_in_one_group_with_the_test_set(store: Store) -> None:
    # A test row with two rows of train, one on either side of where shards are divided, and two of train.
    splits = make_splits(store, ROWS, like={1: 17, 11: 17, 2: 3})
    places = [1, 11, 16, 17, 18, 19]
    assert read_groups(splits, "test").to_pydict() == {
        "row_id": [IDS[at] for at in places],
        "text": [ROWS[at][0] for at in places],
        "group": [IDS[17 if at < 16 else at] for at in places],
    }


def test_new_rows_are_those_that_had_no_side(store: Store) -> None:
    now = make_splits(store, ROWS)
    assert count_new(now, None) == 20
    assert count_new(now, now) == 0
    assert count_new(now, make_splits(store, ROWS[:12])) == 8
    assert count_new(make_splits(store, ROWS[:12]), now) == 0


@pytest.mark.parametrize("file", ["texts.feather", "rows.feather", "ids.feather", "layout/rows.feather"])
def test_altered_bytes_are_not_read(store: Store, file: str) -> None:
    splits = make_splits(store, ROWS)
    path = next(splits.parents[1].rglob(file)) if "/" not in file else splits / file
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(DamagedError, match=r"\.feather, bytes altered"):
        read_side(splits, "test")


def test_the_sides_as_a_dataset_quietly_and_without_network(
    store: Store, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    def refuse(*_: object) -> None:
        raise AssertionError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    sides = dataset(make_splits(store, ROWS), ["spam", "ham"])
    assert list(sides) == list(SIDES)
    for side, table in sides.items():
        assert table.split == side
        assert table.column_names == ["row_id", "text", "label", "group"]
        assert table.features["label"] == datasets.ClassLabel(names=["spam", "ham"])
        names = [table.features["label"].int2str(number) for number in table["label"]]
        assert list(zip(table["text"], names, strict=True)) == ROWS[CUTS[side]]
    assert capfd.readouterr() == ("", "")


def test_who_trains_does_not_depend_on_how_rows_came_to_be() -> None:
    found = code_pieces(["assets.tasks.tokens:tokens_of"])
    rooms = {piece.split(".")[1] for piece in found}
    assert rooms == {"tasks", "splits", "store"}
    assert {piece for piece in found if piece.startswith("assets.splits")} == {
        "assets.splits.rows.OVERLAY",
        "assets.splits.rows._is_unsharded",
        "assets.splits.rows._unsharded_side",
        "assets.splits.rows.read_places",
        "assets.splits.rows.read_side",
        "assets.splits.sides.SIDES",
    }
