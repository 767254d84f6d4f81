"""The step `validated`: holds the expectations against every row, shard by shard, and sets aside those that fail."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.errors import ConfigurationError
from assets.raw import rows as raw_rows
from assets.store.digests import write_json
from assets.store.links import linked, read_links, write_links
from assets.store.tables import digest_of_rows, read_tables, write_table
from assets.store.threads import side_by_side
from assets.validated.data_docs import write_trace
from assets.validated.engine import MAX_RESULT_RECORDS, UnfitError, declared, evaluate, judges_alone, key_of
from assets.validated.frame import Places, Rows, columns_seen, named
from assets.validated.language import accepted_values, libraries
from assets.validated.quarantine import Judged, make_quarantine
from assets.validated.results import columns_of, counted, failing_places, in_samples, observed
from assets.validated.rows import UPHELD
from assets.validated.ruled import Settled, find_ruled, settle
from assets.validated.suite import STRIPPED, build_suites

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from assets.store.step import Build, Measurements, Part

ENVIRONMENT = ("great-expectations:minor", "pandas:major", "pyarrow:major")
"""Libraries that the verdict on a row depends on."""


def validate(
    build: Build,
    *,
    labels: list[str],
    text_length: dict[str, int],
    expectations: list[dict[str, Any]],
    language: list[str] | None,
    columns: dict[str, Any],
) -> Measurements:
    """Hold the built-in and the configured expectations against the rows, and then what people ruled about them.

    Content:
        rows.json: how many rows are accepted, and the digest of their identifiers in order; `gone` and `columns` as raw
            has them.
        quarantine.parquet: row_id, text, label, expectation, detail; has raw's rejected lines too.
        upheld.parquet: row_id of each row whose label people confirmed (readmitted) or gave (relabelled), and `came_as`
            and `label`, the row_id and label that it came with; only where there is one.
        layout/: links `shards` and `large`, as raw has them, at the end of the former that of the relabelled rows;
            rows.feather with `accepted` for each of their rows.

    Trace:
        data_docs/index.html, suite.json, result.json.

    Args:
        build: input `raw`; external input `rulings`, where there are any.
        labels: labels of the task.
        text_length: `min` and `max` characters of a text without white space at both ends.
        expectations: beside the built-in ones: `type`, `kwargs`, `severity`.
        language: accepted scripts and languages, or None for any.
        columns: of the source; its `keep` are the further columns.

    Returns:
        rows_in (with rejected lines), accepted, quarantined, merged (relabelled rows that are then equal to another),
        quarantined_by_expectation, table_expectations, warning_expectations (how many there are), warnings (those that
        fail), labels (of accepted rows), and where there are rulings `rulings`: rows readmitted, relabelled and
        dropped, and rulings that are about no row.

    Raises:
        ConfigurationError: an expectation does not exist, or cannot be held against these columns.
    """
    keep = columns["keep"]
    if STRIPPED in keep:
        raise ConfigurationError(
            f"{STRIPPED!r} is a column that validation makes itself",
            where="source.columns.keep",
            fix="rename the column",
        )
    suites = build_suites(labels=labels, text_length=text_length, expectations=expectations, language=language)
    derived = list(accepted_values(language))
    alone = sorted((each for each in suites.rows if judges_alone(each)), key=key_of)
    comparing = [each for each in suites.rows if not judges_alone(each)]
    raw = build.inputs["raw"]
    kept, rejected = raw_rows.kept(raw), pq.read_table(raw / "rejected.parquet")
    names = columns_seen(keep, derived)
    # Else those that fail are enough; to unpack all texts takes longer than all else for a small batch.
    every = bool(comparing or suites.table or "rulings" in build.externals)
    rows = _read(raw, names, sorted(named([*suites.rows, *suites.table], keep)) if every else None)
    in_order = raw_rows.in_order(build, raw)
    ruled = find_ruled(build, labels, rows, kept)
    faults: dict[str, str] = {}
    total = len(alone) * len(_judged(raw)) + len(comparing) + len(suites.table)
    with build.progress.bar("expectations held", total=total) as advance:
        verdicts, failing = _judge_shards(build, alone, derived, faults, advance)
        with _noted(faults):
            compared = _evaluate(rows, in_order.where(kept).at.astype(np.intp), comparing) if comparing else []
        _refuse(faults, keep)
        if not every:
            rows = _failing(rows, verdicts, failing, in_order)
        judged = sorted([*_merged(verdicts, rows, kept, alone), *compared], key=lambda each: key_of(each.expectation))
        critical = [each for each in judged if each.expectation.severity == "critical"]
        advance(len(comparing))
        settled = settle(build, rows, kept, [each.failing for each in critical], ruled)
        if len(settled.accepted) > len(kept):
            in_order = raw_rows.sorted_rows(build, settled.shards, len(_large(raw)))
        accepted = in_order.where(settled.accepted)
        with _noted(faults):
            about_table = _evaluate(settled.rows, accepted.at.astype(np.intp), suites.table)
        _refuse(faults, keep)
        advance(len(suites.table))
    quarantine = make_quarantine(rows, critical, ruled.all(), ruled.dropped, rejected)
    _write(build, settled, accepted, quarantine)
    results = [each.result for each in (*judged, *about_table)]
    write_trace(build.trace, [*suites.rows, *suites.table], results)
    warned = [result for result in results if result.expectation_config.severity == "warning"]
    measured = {
        "rows_in": int(kept.sum()) + len(rejected),
        "accepted": len(accepted.at),
        "quarantined": len(quarantine),
        "merged": settled.merged,
        "quarantined_by_expectation": _by_expectation(quarantine),
        "table_expectations": [_told(each.result) for each in about_table],
        "warning_expectations": len(warned),
        "warnings": [_told(result) for result in warned if not result.success],
        "labels": raw_rows.label_counts(settled.shards, settled.accepted),
        **settled.measurements,
    }
    build.progress.message(f"{measured['accepted']:,} rows accepted, {measured['quarantined']:,} in quarantine")
    return measured


def _read(raw: Path, names: Sequence[str], further: Sequence[str] | None) -> Rows:
    """All rows of the shards, with the further columns that are needed; None: no row."""
    if further is None:
        nothing = pa.table({name: pa.array([], pa.string()) for name in ("text", "label")})
        return Rows(np.empty((0, 2), np.uint64), nothing, names, np.empty(0, np.intp))
    shards = linked(raw, "shards")
    # Rows are looked up by their places, which is slow in a column of many pieces.
    table = read_tables(shards, "rows.feather", ["text", "label", *further]).combine_chunks()
    return Rows(raw_rows.shard_ids(shards), table, names)


def _failing(
    nothing: Rows, verdicts: Sequence[pa.Table], failing: Sequence[pa.Table], in_order: raw_rows.Ordered
) -> Rows:
    """The rows that fail something."""
    places = np.concatenate([np.unique(found["row"].filter(found["failed"]).to_numpy()) for found in verdicts])
    fails = np.zeros(len(in_order.at), bool)
    fails[places] = True
    found = in_order.where(fails)
    ids = found.ids.take(np.argsort(found.at), axis=0)
    return Rows(ids, pa.concat_tables(failing).combine_chunks(), nothing.names, places)


def _judge_shards(
    build: Build,
    expectations: Sequence[Any],
    derived: Sequence[str],
    faults: dict[str, str],
    advance: Callable[[int], None],
) -> tuple[list[pa.Table], list[pa.Table]]:
    """Verdicts and failing rows of each shard (see `assets.validated.shard.judge`), rows counted through all."""
    make = build.part
    assert make is not None
    arguments = {"expectations": [declared(expectation) for expectation in expectations], "derived": derived}
    environment = (*ENVIRONMENT, *libraries(derived))

    def judge(shard: str) -> Part:
        return make("assets.validated.shard:judge", arguments, inputs={"shard": shard}, environment=environment)

    verdicts, failing, start = [], [], 0
    for done in side_by_side(judge, _judged(build.inputs["raw"])):
        with _noted(faults):
            part = done()
            found = read_tables([part.content], "verdicts.feather")
            row = found["row"].to_numpy().astype(np.intp) + start
            verdicts.append(found.set_column(0, "row", pa.array(row)))
            failing.append(read_tables([part.content], "failing.feather"))
            start += part.measurements["rows"]
        advance(len(expectations))
    return verdicts, failing


def _judged(raw: Path) -> list[str]:
    """Shards with rows that count; one of texts that are gone comes after them."""
    links = read_links(raw)
    return [shard for shard in links["shards"] if shard not in links.get(raw_rows.GONE, ())]


def _merged(
    verdicts: Sequence[pa.Table], rows: Rows, kept: npt.NDArray[np.bool_], expectations: Sequence[Any]
) -> list[Judged]:
    """What expectations that judge each row by itself say of the rows that count, each of them once.

    Their results are Great Expectations' own over the first failing rows, with the counts of all rows.
    """
    table = pa.concat_tables(verdicts)
    table = table.filter(pa.array(kept[table["row"].to_numpy()]))
    row, number, failed = (table[name].to_numpy() for name in ("row", "expectation", "failed"))
    failing = [rows.by_id(row[failed & (number == each)]) for each in range(len(expectations))]
    passed_over = np.bincount(number[~failed], minlength=len(expectations)).tolist()
    samples = rows.by_id(np.unique(np.concatenate([places[:MAX_RESULT_RECORDS] for places in failing])))
    return [
        Judged(
            expectation,
            places,
            counted(sampled.result, rows=int(kept.sum()), passed_over=without_value, failed=len(places)),
        )
        for expectation, places, without_value, sampled in zip(
            expectations, failing, passed_over, _evaluate(rows, samples, expectations), strict=True
        )
    ]


def _evaluate(rows: Rows, places: Places, expectations: Sequence[Any]) -> list[Judged]:
    """Hold expectations against some rows."""
    if not expectations:
        return []
    expectations = sorted(expectations, key=key_of)
    wanted = named(expectations, rows.names)
    frame = rows.some(places, wanted).frame({*wanted, "row_id"})
    return [
        Judged(expectation, places[np.array(failing_places(result), np.intp)], in_samples(result, frame))
        for expectation, result in zip(expectations, evaluate(frame, expectations), strict=True)
    ]


@contextmanager
def _noted(faults: dict[str, str]) -> Iterator[None]:
    """Note what cannot be held against the rows and go on, so that everything wrong is told at once."""
    try:
        yield
    except UnfitError as error:
        faults.update({**error.faults, **faults})


def _refuse(faults: dict[str, str], keep: Sequence[str]) -> None:
    if faults:
        names = ", ".join(["row_id", "text", STRIPPED, "label", *keep])
        raise UnfitError(
            faults, fix=f"the columns are {names}, all of them text; choose expectations and arguments that fit"
        )


def _write(build: Build, settled: Settled, accepted: raw_rows.Ordered, quarantine: pa.Table) -> None:
    raw = build.inputs["raw"]
    rows = {"rows": len(accepted.at), "sha256": digest_of_rows(accepted.ids)}
    write_json(build.content / "rows.json", rows | raw_rows.gone_digest(raw) | raw_rows.columns_of(raw))
    pq.write_table(quarantine, build.content / "quarantine.parquet", compression="zstd")
    if len(settled.upheld):
        pq.write_table(settled.upheld, build.content / UPHELD, compression="zstd")
    write_links(build.content, {"shards": [shard.name for shard in settled.shards], raw_rows.LARGE: _large(raw)})
    write_table(build.content / "layout" / "rows.feather", pa.table({"accepted": settled.accepted}), compressed=True)


def _large(raw: Path) -> list[str]:
    return read_links(raw).get(raw_rows.LARGE, [])


def _by_expectation(quarantine: pa.Table) -> dict[str, int]:
    """How many rows fail each expectation."""
    counts: Counter[str] = Counter()
    for names, count in _counts(quarantine["expectation"]).items():
        counts.update(dict.fromkeys(names.split(", "), count))
    return dict(sorted(counts.items()))


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    return dict(sorted((each["values"], each["counts"]) for each in pc.value_counts(column).to_pylist()))


def _told(result: Any) -> dict[str, Any]:
    config = result.expectation_config
    return {
        "type": config.type,
        "column": ", ".join(columns_of(config)) or None,
        "severity": str(getattr(config.severity, "value", config.severity)),
        "success": bool(result.success),
        "observed": observed(result.to_json_dict()["result"]),
    }
