from __future__ import annotations

import datetime as dt
import decimal
import io
import json
import uuid
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.errors import DataError
from assets.raw import columnar, compressed
from assets.raw.columnar import parse_arrow, parse_parquet
from assets.raw.objects import parse_jsonl
from assets.raw.parse import Fault
from tests.raw.parsed import Item, items, text_of

WANTED = ("text", "label")
Parse = Callable[..., list[Item]]


def parquet_bytes(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **{"row_group_size": 2, **options})
    return sink.getvalue()


def arrow_bytes(table: pa.Table, *, stream: bool = False, **options: Any) -> bytes:
    sink = io.BytesIO()
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with make(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=2)
    return sink.getvalue()


def parquet(table: pa.Table, *, wanted: tuple[str, ...] = WANTED) -> list[Item]:
    return items(parse_parquet("f", parquet_bytes(table), wanted))


def file(table: pa.Table, *, wanted: tuple[str, ...] = WANTED) -> list[Item]:
    return items(parse_arrow("f", arrow_bytes(table), wanted))


def stream(table: pa.Table, *, wanted: tuple[str, ...] = WANTED) -> list[Item]:
    return items(parse_arrow("f", arrow_bytes(table, stream=True, compression="zstd"), wanted))


FORMS = pytest.mark.parametrize("parse", [parquet, file, stream])


@FORMS
def test_values_become_text_and_lines_are_row_numbers(parse: Parse) -> None:
    table = pa.table(
        {
            "other": [None, None, None],
            "label": pa.array([1.0, None, 0.5]),
            "text": pa.array(["a", None, "b"]).dictionary_encode(),
            "flag": [True, False, None],
            "day": pa.array([0, 1, None], type=pa.timestamp("ns")),
        }
    )
    assert parse(table, wanted=("text", "label", "flag", "day")) == [
        (1, ("a", "1", "true", "1970-01-01 00:00:00.000000000")),
        (2, (None, None, "false", "1970-01-01 00:00:00.000000001")),
        (3, ("b", "0.5", None, None)),
    ]
    assert parse(table.slice(0, 0)) == []


@FORMS
@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array([-1, 2**63 - 1]), ["-1", "9223372036854775807"]),
        (pa.array([2**64 - 1, None], pa.uint64()), ["18446744073709551615", None]),
        (pa.array([0.1, float("nan")], pa.float32()), ["0.10000000149011612", "nan"]),
        (pa.array([1e300, -0.0]), [str(int(1e300)), "0"]),
        (pa.array([decimal.Decimal("1.20"), None]), ["1.20", None]),
        (pa.array([dt.date(2024, 2, 29), None]), ["2024-02-29", None]),
        (pa.array(["", "x"], pa.large_string()), ["", "x"]),
        (pa.array(["a long enough text \U0001f600", None], pa.string_view()), ["a long enough text \U0001f600", None]),
        (pa.array([3, 3], pa.int8()).dictionary_encode(), ["3", "3"]),
        (pa.nulls(2), [None, None]),
        (pa.array([uuid.UUID(int=1), None], pa.uuid()), [str(uuid.UUID(int=1)), None]),
        (pa.array(['{"a": 1}', None], pa.json_()), ['{"a": 1}', None]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_types(parse: Parse, values: pa.Array, texts: list[str | None]) -> None:
    table = pa.table({"text": values, "label": ["x", "y"]})
    assert parse(table) == [(1, (texts[0], "x")), (2, (texts[1], "y"))]


@FORMS
def test_bytes_that_are_not_utf8(parse: Parse) -> None:
    text = pa.Array.from_buffers(pa.string(), 3, pa.array([b"ok", b"caf\xe9", None]).buffers())
    detail = "column 'text': \\xe9 at character 4 is not in the encoding"
    expected = [
        (1, ("ok", "1")),
        Fault(2, '{"text": "caf\\xe9", "label": "2"}', "encoding", detail),
        (3, (None, "3")),
    ]
    assert parse(pa.table({"text": text, "label": [1, 2, 3]})) == expected
    repeated = pa.DictionaryArray.from_arrays(pa.array([0, 1, None], pa.int32()), text.slice(0, 2))
    assert parse(pa.table({"text": repeated, "label": [1, 2, 3]})) == expected


@FORMS
@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"text": ["a"]}, "f: no column 'label'; columns found: 'text'"),
        ({"text": ["a"], "label": [["x"]]}, r"column 'label' is of type list<.*>, not text\n  fix: write"),
        ({"text": ["a"], "label": [{"x": 1}]}, r"column 'label' is of type struct<.*>, not text"),
        ({"text": [b"a"], "label": ["x"]}, "column 'text' is of type binary, not text"),
        ({"text": pa.array([b"a"], pa.binary(1)), "label": ["x"]}, "is of type fixed_size_binary.1., not text"),
    ],
)
def test_columns_that_are_not_what_is_wanted(parse: Parse, table: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse(pa.table(table))


def test_columns_that_are_there_twice() -> None:
    table = pa.table([["a"], ["b"], ["x"]], ["text", "text", "label"])
    with pytest.raises(DataError, match="more than one column is called 'text'"):
        file(table)


GOOD = pa.table({"text": [f"text {number}" for number in range(50)], "label": ["x", "y"] * 25})


@pytest.mark.parametrize(
    ("parse", "data", "message"),
    [
        (parse_parquet, b"PAR1" + b"\1" * 50 + b"PAR1", r"f: the Parquet file is damaged: .*\n  fix: fetch"),
        (parse_parquet, parquet_bytes(GOOD)[:-60] + b"PAR1", "the Parquet file is damaged"),
        (parse_arrow, b"ARROW1\0\0" + b"\1" * 50 + b"ARROW1", "the Arrow file is damaged"),
        (parse_arrow, arrow_bytes(GOOD)[:-200] + b"ARROW1", "the Arrow file is damaged"),
        (parse_arrow, arrow_bytes(GOOD, stream=True)[:-8], "the Arrow stream is cut off: it has no end\n  fix: fetch"),
        (parse_arrow, b"\xff" * 30 + b"\xff\xff\xff\xff\0\0\0\0", "the Arrow file is damaged"),
    ],
)
def test_damaged_files(parse: Any, data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse("f", data, WANTED)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(
    at=st.integers(8, 10_000), byte=st.integers(0, 255), kind=st.sampled_from(["parquet", "file", "stream", "packed"])
)
def test_no_byte_of_a_file_can_do_harm(at: int, byte: int, kind: str) -> None:
    data = bytearray(DAMAGED[kind])
    data[8 + at % (len(data) - 16)] = byte
    parse = parse_parquet if kind == "parquet" else parse_arrow
    try:
        parsed = parse("f", bytes(data), WANTED)
    except DataError:
        return
    parsed.rows.validate(full=True)
    assert parsed.rows.num_rows + len(parsed.faults) == len(parsed.lines) + len(parsed.faults) <= 10**6


DAMAGED = {
    "parquet": parquet_bytes(GOOD, compression="none", row_group_size=20),
    "file": arrow_bytes(GOOD),
    "stream": arrow_bytes(GOOD.set_column(1, "label", GOOD["label"].dictionary_encode()), stream=True),
    "packed": arrow_bytes(GOOD, stream=True, compression="lz4"),
}


@settings(deadline=None, derandomize=True, max_examples=100)
@given(
    texts=st.lists(st.none() | st.text(max_size=5), min_size=1, max_size=9),
    labels=st.sampled_from(
        [
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.floats(allow_nan=False, allow_infinity=False),
            st.booleans(),
        ]
    ),
    data=st.data(),
)
def test_a_table_reads_as_its_lines_of_json_do(
    texts: list[str | None], labels: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    values = data.draw(st.lists(labels, min_size=len(texts), max_size=len(texts)))
    table = pa.table({"text": pa.array(texts, pa.string()), "label": values})
    lines = "".join(json.dumps({"text": t, "label": v}) + "\n" for t, v in zip(texts, values, strict=True))
    expected = items(parse_jsonl("f", text_of(lines), WANTED))
    assert parquet(table) == file(table) == stream(table) == expected


# A small file of a great many or of very long values

LONG = pa.array(["x" * 5_000_000])
FORTY = {"text": LONG.take([0] * 40), "label": ["x"] * 40}
NULLS = {"text": pa.nulls(4_000_000, pa.string()), "label": pa.nulls(4_000_000)}


@pytest.mark.parametrize(
    ("parse", "data"),
    [
        (parse_parquet, parquet_bytes(pa.table(NULLS), row_group_size=10**7)),
        (parse_parquet, parquet_bytes(pa.table(FORTY), row_group_size=40, compression="zstd")),
        (
            parse_arrow,
            arrow_bytes(pa.table(FORTY | {"text": LONG.dictionary_encode().take([0] * 40)}), compression="zstd"),
        ),
        (
            parse_arrow,
            arrow_bytes(pa.table(FORTY | {"text": FORTY["text"].cast(pa.string_view())}), compression="zstd"),
        ),
    ],
    ids=["nulls", "dictionary in Parquet", "dictionary in Arrow", "views"],
)
def test_bombs(monkeypatch: pytest.MonkeyPatch, parse: Any, data: bytes) -> None:
    monkeypatch.setattr(compressed, "FREE_BYTES", 50_000_000)
    monkeypatch.setattr(columnar, "BATCH_BYTES", 10_000_000)
    told: list[int] = []

    def watched(name: str, packed: int, size: int) -> None:
        told.append(size)
        compressed.refuse_bomb(name, packed, size)

    monkeypatch.setattr(columnar, "refuse_bomb", watched)
    assert len(data) < 200_000
    with pytest.raises(DataError, match=r"bytes of the file unpack to more than"):
        parse("f", data, WANTED)
    if parse is parse_parquet:
        assert max(told) <= 60_000_000


def classes(names: object, kind: str = "ClassLabel") -> dict[bytes, bytes]:
    """Metadata of a schema as `datasets` writes them."""
    features = {"text": {"dtype": "string", "_type": "Value"}, "label": {"names": names, "_type": kind}}
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


@pytest.mark.parametrize(
    "make",
    [parquet_bytes, arrow_bytes, lambda table: arrow_bytes(table, stream=True)],
    ids=["parquet", "file", "stream"],
)
def test_numbers_of_classes_are_their_names(make: Callable[[pa.Table], bytes]) -> None:
    numbers = pa.array([0, 1, -1, None, 2, -7, 1], pa.int64())
    table = pa.table({"text": pa.array(list("abcdefg")), "other": numbers, "label": numbers})
    data = make(table.replace_schema_metadata(classes(["ham", "spam"])))
    parse = parse_parquet if make is parquet_bytes else parse_arrow
    found = list(
        zip(*(column.to_pylist() for column in parse("x", data, ("text", "label", "other")).rows.columns), strict=True)
    )
    assert [values[1] for values in found] == ["ham", "spam", None, None, "2", "-7", "spam"]
    assert [values[2] for values in found] == ["0", "1", "-1", None, "2", "-7", "1"]


@pytest.mark.parametrize(
    "metadata",
    [
        {b"huggingface": b"{"}, {b"huggingface": b"[]"}, {b"huggingface": b'{"info": {"features": {"label": 1}}}'},
        None, classes(None), classes("ham"), classes([1, 2]), classes(["ham", "x" * 1001]),
        classes(["ham", "spam"], "Value"),
    ],
)  # fmt: skip
def test_metadata_that_name_no_classes_leave_numbers(metadata: dict[bytes, bytes] | None) -> None:
    table = pa.table({"text": ["a"], "label": [1]}).replace_schema_metadata(metadata)
    assert items(parse_parquet("x", parquet_bytes(table), WANTED)) == [(1, ("a", "1"))]


def test_names_of_classes_do_not_make_a_small_file_large(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"text": ["a"] * 5000, "label": [0] * 5000}).replace_schema_metadata(classes(["x" * 1000]))
    data = parquet_bytes(table, row_group_size=5000)
    sizes: list[int] = []
    monkeypatch.setattr(columnar, "refuse_bomb", lambda _name, _packed, size: sizes.append(size))
    parse_parquet("x", data, WANTED)
    assert sizes[-1] > 5_000_000
