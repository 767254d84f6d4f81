from __future__ import annotations

import io
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.errors import ConfigurationError, DataError, TransientError
from assets.progress import Event
from assets.raw import STEP
from assets.store.digests import digest_json
from assets.store.step import Build, Observation
from tests.raw.conftest import Read, observed

PROPERTY = settings(
    deadline=None, derandomize=True, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LINES = st.lists(
    st.sampled_from([b"a,x", b"b,y", b'"a\nb",x', b"ragged", b"caf\xe9,x", b'"open,x', b"", b"c,\xc3\xa9"]), min_size=1
)


def csv(*lines: bytes) -> bytes:
    return b"\n".join([b"text,label", *lines, b""])


def test_rows_are_kept_once_with_every_origin(read_files: Read) -> None:
    raw = read_files({"b.csv": csv(b"two,y", b"one,x"), "a.csv": csv(b"one,x", b"bad", b"one,x")})
    one, two = digest_json(["one", "x"])[:32], digest_json(["two", "y"])[:32]
    bad = digest_json(["rejected", "bad"])[:32]
    assert sorted(raw.rows, key=str) == sorted(
        [{"row_id": one, "text": "one", "label": "x"}, {"row_id": two, "text": "two", "label": "y"}], key=str
    )
    assert raw.rejected == [
        {"row_id": bad, "line_text": "bad", "reason": "ragged_row", "detail": "1 fields instead of 2"}
    ]
    assert Counter((o["row_id"], o["file"], o["line"]) for o in raw.origins) == Counter(
        [(one, "a.csv", 2), (bad, "a.csv", 3), (one, "a.csv", 4), (two, "b.csv", 2), (one, "b.csv", 3)]
    )
    for table in (raw.rows, raw.rejected, raw.origins):
        assert [row["row_id"] for row in table] == sorted(row["row_id"] for row in table)
    told = raw.measurements
    assert told == json.loads(json.dumps(told))
    assert {name: told[name] for name in ("files", "rows_read", "rows", "rejected", "repeated", "labels")} == {
        "files": 2,
        "rows_read": 5,
        "rows": 2,
        "rejected": 1,
        "repeated": 2,
        "labels": {"x": 1, "y": 1},
    }
    assert told["bytes"] == len(csv(b"two,y", b"one,x")) + len(csv(b"one,x", b"bad", b"one,x"))
    assert {(row["text"], row["label"]) for row in told["samples"]} == raw.pairs


def test_the_format_does_not_change_the_content(read_files: Read) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"label": [1, 2], "text": ["é", "b\nc"], "from": ["p", "q"]}), sink)
    lines = [{"text": "é", "label": 1, "from": "p"}, {"text": "b\nc", "label": 2, "from": "q"}]
    contents = {
        read_files({name: data}, keep=("from",)).content
        for name, data in {
            "a.csv": '\ufefftext,label,from\r\né,1,p\r\n"b\nc",2,q\r\n'.encode(),
            "a.jsonl": "".join(json.dumps(line) + "\n" for line in lines).encode(),
            "a.parquet": sink.getvalue(),
        }.items()
    }
    assert len(contents) == 1
    raw = read_files({"a.parquet": sink.getvalue()}, keep=("from",))
    assert set(raw.rows[0]) == {"row_id", "text", "label", "from"}
    assert digest_json(["é", "1", "p"])[:32] in {row["row_id"] for row in raw.rows}


def test_tsv_takes_quotes_as_they_are_unless_told(read_files: Read) -> None:
    data = b'text\tlabel\n"a"\tx\n'
    assert read_files({"a.tsv": data}).pairs == {('"a"', "x")}
    assert read_files({"a.tsv": data}, quoting="minimal").pairs == {("a", "x")}
    assert read_files({"a.csv": b'text,label\n"a",x\n'}, quoting="none").pairs == {('"a"', "x")}


def test_headerless_file_under_a_wrong_ending(read_files: Read) -> None:
    raw = read_files({"a.csv": b'ham\tsay "hi"\n'}, format="tsv", names=["label", "text"])
    assert raw.pairs == {('say "hi"', "ham")}
    assert raw.origins[0]["line"] == 1


def test_null_labels_are_counted_and_kept(read_files: Read) -> None:
    raw = read_files({"a.jsonl": b'{"text": "a", "label": null}\n{"text": "b", "label": "x"}\n'})
    assert raw.pairs == {("a", None), ("b", "x")}
    assert raw.measurements["labels"] == {"null": 1, "x": 1}


def test_a_file_whose_lines_are_all_bad_is_told_line_by_line(read_files: Read) -> None:
    raw = read_files({"a.csv": csv(b"1", b"2", b"3")})
    assert raw.rows == []
    assert {row["line_text"] for row in raw.rejected} == {"1", "2", "3"}
    assert raw.measurements["rows_read"] == raw.measurements["rejected"] == 3


@pytest.mark.parametrize("data", [b"text,label\n", b"text,label"])
def test_header_only(read_files: Read, data: bytes) -> None:
    with pytest.raises(DataError, match=r"a\.csv: there are no rows, only header lines\n  fix: put rows below"):
        read_files({"a.csv": data})
    assert read_files({"a.csv": data, "b.csv": csv(b"a,x")}).pairs == {("a", "x")}


def test_one_bad_file_is_told_as_it_is_and_several_together(read_files: Read) -> None:
    good = csv(b"a,x")
    with pytest.raises(DataError, match=r"^b\.csv: the file is empty\n  fix: put rows in it"):
        read_files({"a.csv": good, "b.csv": b""})
    with pytest.raises(DataError, match=r"(?s)2 files .*- b\.csv: the file is empty.*- c\.csv: no column 'label'"):
        read_files({"a.csv": good, "b.csv": b"", "c.csv": b"text,lable\n"})


def test_the_format_must_be_known(read_files: Read) -> None:
    with pytest.raises(ConfigurationError, match=r"a\.txt: the ending '\.txt' does not tell the format"):
        read_files({"a.txt": b"text,label\n"})


def test_a_file_that_changes_after_it_was_observed(make_build: Callable[..., Build], tmp_path: Path) -> None:
    from assets.raw.read import read

    source = observed(tmp_path / "source", {"a.csv": csv(b"a,x")})
    path = Path(source.files[0].path)
    columns = {"text": "text", "label": "label", "keep": []}
    path.write_bytes(csv(b"a,y"))
    with pytest.raises(TransientError, match=r"a\.csv: the file changed while it was read\n  fix: run again"):
        read(
            make_build(externals={"source": source}),
            format="auto", names=None, quoting="auto", encoding="utf-8", columns=columns, labels=None, mode="mirror",
            frozen=None,
            sample=None,
        )  # fmt: skip
    path.unlink()
    with pytest.raises(TransientError, match=r"a\.csv: cannot be read any more: No such file"):
        read(
            make_build(externals={"source": source}),
            format="auto", names=None, quoting="auto", encoding="utf-8", columns=columns, labels=None, mode="mirror",
            frozen=None,
            sample=None,
        )  # fmt: skip


def test_a_sample_keeps_the_lowest_row_ids(read_files: Read) -> None:
    lines = [f"text {number},x".encode() for number in range(50)] + [b"ragged", b"text 3,x"]
    whole = read_files({"a.csv": csv(*lines)})
    part = read_files({"a.csv": csv(*lines)}, sample=20)
    ids = sorted(row["row_id"] for row in [*whole.rows, *whole.rejected])[:20]
    assert sorted(row["row_id"] for row in [*part.rows, *part.rejected]) == ids
    assert [origin for origin in part.origins if origin["row_id"] in ids] == [
        origin for origin in whole.origins if origin["row_id"] in ids
    ]
    assert part.measurements["rows_read"] == 20
    assert read_files({"a.csv": csv(*lines)}, sample=1000).content == whole.content


def test_the_same_line_rejected_for_two_reasons_has_one_whichever_file_comes_first(read_files: Read) -> None:
    wide, narrow = b"text,label,more\na,b,c,d\n", b"text,label\na,b,c,d\n"
    one, other = read_files({"a.csv": wide, "b.csv": narrow}), read_files({"a.csv": narrow, "b.csv": wide})
    assert one.content == other.content
    assert len(one.rejected) == 1
    assert len(one.origins) == 2


@PROPERTY
@given(files=st.lists(LINES, min_size=1, max_size=3))
def test_nothing_is_lost(read_files: Read, files: list[list[bytes]]) -> None:
    given_files = {f"{number}.csv": csv(*lines, b"last,x") for number, lines in enumerate(files)}
    raw = read_files(given_files)
    told = raw.measurements
    assert told["rows_read"] == len(raw.origins)
    assert told["rows_read"] == told["rows"] + told["rejected"] + told["repeated"]
    assert {origin["row_id"] for origin in raw.origins} == {row["row_id"] for row in [*raw.rows, *raw.rejected]}
    starts = {(origin["file"], origin["line"]) for origin in raw.origins}
    assert len(starts) == len(raw.origins)
    assert all(line <= given_files[file].count(b"\n") for file, line in starts)


RECORDS = st.lists(
    st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=8), st.sampled_from("xy")),
    min_size=1,
    max_size=12,
)


def jsonl(records: list[tuple[str, str]]) -> bytes:
    return "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in records).encode()


@PROPERTY
@given(records=RECORDS, data=st.data())
def test_order_files_and_repetition_do_not_change_the_content(
    read_files: Read, records: list[tuple[str, str]], data: st.DataObject
) -> None:
    once = read_files({"a.jsonl": jsonl(records)})
    assert once.pairs == set(records)
    shuffled = data.draw(st.permutations(records))
    cut = data.draw(st.integers(0, len(records) - 1))
    again = data.draw(st.lists(st.sampled_from(records), min_size=1))
    files = {"z.jsonl": jsonl(list(shuffled)[cut:]), "b.jsonl": jsonl([*shuffled[:cut], *again])}
    other = read_files(files)
    assert other.content == once.content
    assert other.measurements["rows_read"] == once.measurements["rows_read"] + len(again)
    assert other.measurements["repeated"] == once.measurements["repeated"] + len(again)


def test_progress_is_told(read_files: Read, events: list[Event]) -> None:
    read_files({"a.csv": csv(b"a,x", b"a,x", b"bad")})
    assert [event["text"] for event in events if event["kind"] == "message"] == [
        "3 rows read: 1 distinct, 1 repeated, 1 unreadable"
    ]
    assert [event["completed"] for event in events if event["kind"] == "advance"] == [1]


def test_planning_imports_nothing_heavy() -> None:
    heavy = {"pyarrow", "pandas", "great_expectations", "torch", "transformers", "numpy", "dagster"}
    code = f"import sys, assets.raw, assets.validated; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_declaration_names_the_function_and_its_arguments() -> None:
    import inspect

    from assets.raw.read import read

    arguments = list(inspect.signature(read).parameters)[1:]
    assert STEP.function == f"{read.__module__}:{read.__name__}"
    assert sorted(path.rsplit(".", 1)[-1] for path in STEP.configuration) == sorted(arguments)


def test_renamed_labels_need_no_edit_of_the_data(read_files: Read, events: list[Event]) -> None:
    files = {"a.csv": csv(b"one,junk", b"two,ham", b"bad"), "b.csv": csv(b"one,spam", b"three,junk")}
    raw = read_files(files, labels={"junk": "spam", "gone": "ham"})
    assert raw.pairs == {("one", "spam"), ("two", "ham"), ("three", "spam")}
    assert raw.measurements["renamed"] == 2
    assert raw.measurements["labels"] == {"spam": 2, "ham": 1}
    assert "2 rows have a label that source.labels renames" in [event.get("text") for event in events]

    edited = {name: data.replace(b"junk", b"spam") for name, data in files.items()}
    assert read_files(edited).content == raw.content
    assert read_files(edited).measurements["renamed"] == 0


def test_files_elsewhere_are_read_where_they_are(make_build: Callable[..., Build]) -> None:
    import fsspec

    from assets.raw.read import read
    from assets.raw.remote import elsewhere
    from assets.store.index import FileIndex

    fsspec.filesystem("memory").pipe_file("/freshtune-read/a.csv", csv(b"one,x"))
    build = make_build()
    files = tuple(elsewhere("memory://freshtune-read/*.csv", FileIndex(build.work / "files.json")))
    source = Observation("source", "memory://", "0", files)
    told = read(
        Build(**{**vars(build), "externals": {"source": source}}),
        format="auto",
        names=None,
        quoting="auto",
        encoding="auto",
        columns={"text": "text", "label": "label", "keep": []},
        labels=None,
        mode="mirror",
        frozen=None,
        sample=None,
    )
    assert told["rows"] == 1


def test_the_same_bytes_may_be_files_of_two_formats(read_files: Read) -> None:
    data = b"text\tlabel\none\tx\ntwo\ty\n"
    raw = read_files({"a.csv": data, "b.tsv": data})
    measured = raw.measurements
    assert [measured[name] for name in ("rows_read", "rows", "repeated")] == [4, 2, 2]
    assert [(each["file"], each["line"]) for each in raw.origins] == [
        ("a.csv", 2),
        ("b.tsv", 2),
        ("a.csv", 3),
        ("b.tsv", 3),
    ]
