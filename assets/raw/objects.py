"""Rows as JSON objects: JSON Lines, one array in JSON, and what Label Studio exports."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pyarrow as pa
from pyarrow import json as arrow_json

from assets.errors import DataError
from assets.raw.parse import Fault, Parsed, assemble, escape, kind, refuse_missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from assets.raw.decoding import Text

BLOCK_BYTES = 1 << 20
"""What Arrow reads at once."""
NESTED = 200
"""Arrays and objects that a line may open; what may be nested deeper is for Python's decoder, limited by its stack."""
NOT_FINITE = re.compile(rb"(?:NaN|Inf(?:inity)?)\s*[,}\]]")


def parse_jsonl(name: str, text: Text, wanted: Sequence[str]) -> Parsed:
    """Parse JSON Lines; a column that an object lacks is null.

    Raises:
        DataError: no object of the file has a wanted column.
    """
    fast = None if text.utf8 is None else at_once(text.utf8, wanted)
    return one_by_one(name, text, wanted) if fast is None else fast


def one_by_one(name: str, text: Text, wanted: Sequence[str]) -> Parsed:
    """Parse JSON Lines line by line, whatever is in them.

    Raises:
        DataError: no object of the file has a wanted column.
    """
    whole = text.whole()
    # Not str.splitlines: it would split at U+2028 and others, which JSON strings may hold.
    lines = whole.split("\n")
    faults: list[Fault] = []

    def shown(number: int) -> str:
        return lines[number - 1].rstrip("\r")

    def records() -> Iterator[tuple[int, Any]]:
        decode = json.JSONDecoder(parse_constant=_no_constant).raw_decode
        for number, line in enumerate(lines, start=1):
            stripped = line.strip()
            if not stripped:
                continue
            try:
                record, end = decode(stripped)
            except (ValueError, RecursionError):
                end = -1
            if end == len(stripped):
                yield number, record
            else:
                # The parser's own words and positions differ between versions of Python, and content must not.
                faults.append(Fault(number, escape(shown(number)), "invalid_json", "not valid JSON"))

    return _take(name, records(), wanted, faults, shown, damaged=text.damaged or "\\u" in whole)


def at_once(utf8: bytes, wanted: Sequence[str]) -> Parsed | None:
    """Parse all lines of JSON Lines at once, by Arrow; None where that might not give what Python's decoder gives.

    Where every line begins with `{` and ends with `}` and there are as many rows as lines, each line is one object: in
    JSON a `{` follows a `}` only where one object ends and the next begins. A column is text, the label may be whole
    numbers; what Arrow takes and Python does not (numbers that are none, deep nesting) is looked for before.
    """
    utf8 = utf8.rstrip(b" \t\r\n")
    end = b"\r\n" if utf8.count(b"\r\n") else b"\n"
    count = utf8.count(b"\n") + 1
    if not utf8.startswith(b"{") or not utf8.endswith(b"}") or utf8.count(b"}" + end + b"{") != count - 1:
        return None
    if (b"NaN" in utf8 or b"Inf" in utf8) and NOT_FINITE.search(utf8):
        return None
    if utf8.count(b"{") + utf8.count(b"[") > count + NESTED and _most_opened(utf8) > NESTED:
        return None
    for label in (pa.string(), pa.int64()):
        schema = pa.schema([(name, label if index == 1 else pa.string()) for index, name in enumerate(wanted)])
        try:
            table = arrow_json.read_json(
                pa.BufferReader(utf8),
                read_options=arrow_json.ReadOptions(block_size=BLOCK_BYTES),
                parse_options=arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
            )
        except pa.ArrowInvalid:
            continue
        # A column of nulls may be one that no object has.
        if table.num_rows != count or any(table[name].null_count == count for name in wanted):
            return None
        return Parsed(table.select(list(wanted)).cast(_texts(wanted)), np.arange(1, count + 1), [])
    return None


def _most_opened(utf8: bytes) -> int:
    """The most arrays and objects that one line opens, at most: brackets in texts count too."""
    view = np.frombuffer(utf8, np.uint8)
    starts = np.append(0, np.flatnonzero(view == ord("\n")))
    return int(np.add.reduceat((view == ord("{")) | (view == ord("[")), starts, dtype=np.int64).max())


def _texts(wanted: Sequence[str]) -> pa.Schema:
    return pa.schema([(name, pa.string()) for name in wanted])


def parse_json(name: str, text: Text, wanted: Sequence[str]) -> Parsed:
    """Parse one array of objects; a column that an object lacks is null, and a row's line is its number.

    Raises:
        DataError: the file is not one array in JSON, or no object of it has a wanted column.
    """
    whole = text.whole()
    items = _array(name, whole)
    if (
        items
        and isinstance(items[0], dict)
        and {"data", "annotations"} <= items[0].keys()
        and wanted[0] not in items[0]
    ):
        raise DataError("the file seems to be Label Studio's export", where=name, fix="set source.format: label_studio")
    return _take(
        name,
        enumerate(items, start=1),
        wanted,
        [],
        lambda number: _dump(items[number - 1]),
        damaged=_doubtful(text, whole),
    )


def parse_label_studio(name: str, text: Text, wanted: Sequence[str]) -> Parsed:
    """Parse Label Studio's JSON export: an array of tasks with `data` and `annotations`.

    The text and further columns are those of `data`; the label is the one choice of the latest annotation that was not
    cancelled. A row's line is its number.

    Raises:
        DataError: the file is not one array in JSON, holds no tasks, or no task of it has a wanted column.
    """
    whole = text.whole()
    tasks = _array(name, whole)
    if tasks and not any(isinstance(task, dict) and "data" in task for task in tasks):
        raise DataError(
            "the file is not Label Studio's export as JSON: nothing in its array has `data`",
            where=name,
            fix="export as JSON (not JSON-MIN), or set source.format: json",
        )
    faults: list[Fault] = []

    def records() -> Iterator[tuple[int, Any]]:
        for number, task in enumerate(tasks, start=1):
            label, fault = _choice(task)
            if fault:
                faults.append(Fault(number, escape(_dump(task)), *fault))
            else:
                yield number, task["data"] | {wanted[1]: label}

    return _take(
        name, records(), wanted, faults, lambda number: _dump(tasks[number - 1]), damaged=_doubtful(text, whole)
    )


def _take(
    name: str,
    records: Iterable[tuple[int, Any]],
    wanted: Sequence[str],
    faults: list[Fault],
    shown: Callable[[int], str],
    *,
    damaged: bool,
) -> Parsed:
    """Rows of decoded objects.

    Args:
        name: the file's name, for messages.
        records: number and value of each.
        wanted: columns to take.
        faults: those that were found before; more may come while records are asked for.
        shown: the line of a number, as a fault has it.
        damaged: whether texts may hold surrogates.
    """
    columns: list[list[Any]] = [[] for _ in wanted]
    numbers: list[int] = []
    missing, found = set(wanted), None
    for number, record in records:
        if not isinstance(record, dict):
            faults.append(Fault(number, escape(shown(number)), "invalid_json", f"{kind(record)}, not an object"))
            continue
        if missing:
            found = found or list(record)
            missing -= record.keys()
        for column, values in zip(wanted, columns, strict=True):
            values.append(record.get(column))
        numbers.append(number)
    if found is not None and missing:
        refuse_missing(name, sorted(missing), found)
    return assemble(wanted, columns, numbers, faults, lambda index: shown(numbers[index]), damaged=damaged)


def _array(name: str, text: str) -> list[Any]:
    try:
        items = json.loads(text, parse_constant=_no_constant)
    except RecursionError as error:
        raise DataError("the file is nested too deeply", where=name, fix="write one array of flat objects") from error
    except ValueError as error:
        raise DataError(
            f"the file is not valid JSON: {error}",
            where=name,
            fix="write the file again; if each line is an object, set source.format: jsonl",
        ) from error
    if not isinstance(items, list):
        raise DataError(
            f"the file is {kind(items)} in JSON, not an array of objects",
            where=name,
            fix="write one array of objects; if each line is an object, set source.format: jsonl",
        )
    return items


def _choice(task: Any) -> tuple[str, None] | tuple[None, tuple[str, str]]:
    """The label of a task, or reason and detail of why it has none."""
    try:
        task["data"].keys()
        done = [each for each in task["annotations"] if not each.get("was_cancelled")]
        if not done:
            return None, ("not_annotated", "no annotation that was not cancelled")
        latest = max(
            done, key=lambda each: (each.get("updated_at") or each.get("created_at") or "", each.get("id") or 0)
        )
        choices = [choice for result in latest["result"] for choice in result["value"].get("choices", ())]
    except (AttributeError, KeyError, TypeError):
        return None, ("unreadable", "not a task of Label Studio with data and annotations")
    if not choices:
        return None, ("not_annotated", "the latest annotation has no choice")
    if len(choices) > 1 or not isinstance(choices[0], str):
        return None, ("several_choices", f"the latest annotation has {len(choices)} choices: {_dump(choices)}")
    return choices[0], None


def _doubtful(text: Text, whole: str) -> bool:
    return text.damaged or "\\u" in whole


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _no_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
