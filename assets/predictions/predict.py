"""The step's function: every unlabelled file is parsed and predicted once, and every row of them is accounted for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assets.cleaned import MASKING
from assets.errors import DataError
from assets.evaluation.decisions import Decisions, read
from assets.predictions import scoring
from assets.predictions.rows import SCORES, SHARDS, chosen_of
from assets.predictions.unlabelled import NAME, renamed
from assets.raw.kinds import format_of
from assets.raw.rows import files_of
from assets.raw.shard import together
from assets.store.digests import digest_json, write_json
from assets.store.links import checked, write_links
from assets.store.tables import as_ids, firsts_in_order, hexadecimal, read_tables

if TYPE_CHECKING:
    from assets.store.step import Build, Measurements, ObservedFile, Part


class Shard(NamedTuple):
    """One file's content.

    Attributes:
        rows: its part with the rows, see `assets.raw.shard`.
        scores: its part with what the model said, see `assets.predictions.scoring`.
        names: how many files have this content.
    """

    rows: Part
    scores: Part
    names: int


def predict(
    build: Build,
    *,
    format: str,  # noqa: A002 - the argument is the configuration's field
    names: Sequence[str] | None,
    quoting: str,
    encoding: str,
    columns: Mapping[str, Any],
    unicode: str | None,
    whitespace: bool,
    mask_pii: Sequence[str] | None,
    sample: int | None,
) -> Measurements:
    """Predict the unlabelled files with the champion.

    Content:
        predictions.json: model (digest or None), labels, decisions (temperature and threshold), columns (carried
            along), rows, sha256 of what the links mean.
        rejected.parquet: row_id, line_text, reason, detail of every distinct line that is no row.
        layout/: links `shards` (see `assets.raw.shard.parse`) and `scores` (see `assets.predictions.scoring`), one for
            each content of a file.

    Args:
        build: external inputs `unlabelled`, `champion` and `champion_evaluation`.
        format: of the files, or `auto`.
        names: columns of CSV and TSV files without a header line, or None.
        quoting: `auto`, `minimal` or `none`.
        encoding: of text files.
        columns: name of the column `text`, and a list `keep`.
        unicode: Unicode normal form of the texts that models are trained on, or None.
        whitespace: whether their white space is normalised.
        mask_pii: kinds of personal data that are masked in them, or None.
        sample: rows of a sample, which predicts nothing, or None.

    Returns:
        model, reason (why nothing was predicted, or ""), files, read, predicted, without_text, rejected and, where
        there are any, forgotten (rows of all files; those of equal files count for each), rows (distinct ones), labels
        (distinct rows by predicted label).

    Raises:
        DataError: a file is not what it should be or lacks a column.
        TransientError: a file changed after it was looked at.
    """
    found = build.externals["champion"]
    model = next(iter((*found.objects, *found.lost)), None)
    reason = _missing(build, sample)
    decisions = Decisions() if reason else _decisions(build)
    shards: list[Shard] = []
    if not reason and model is not None:
        wanted = [columns["text"], *columns["keep"]]
        options: dict[str, Any] = {"names": names, "quoting": quoting, "encoding": encoding, "wanted": wanted}
        options["labelled"] = False
        if "forgotten" in build.externals:
            options["forgotten"] = list(build.externals["forgotten"].values)
        parsed = _parsed(build, format, options)
        given = {"unicode": unicode, "whitespace": whitespace, "mask_pii": mask_pii}
        shards = _scored(build, parsed, model, given)
    labels = json.loads(checked(shards[0].scores.content, "labels.json").read_bytes()) if shards else []
    told = _account(shards, decisions, labels)
    told = {"model": model, "reason": reason, "files": len(build.externals[NAME].files), **told}
    _write(build, shards, told, decisions, labels, columns["keep"])
    build.progress.message(_said(told))
    return told


def _missing(build: Build, sample: int | None) -> str:
    """Why nothing can be predicted, or nothing."""
    champion, evaluation = build.externals["champion"], build.externals["champion_evaluation"]
    if sample is not None:
        return "a sample of the pipeline predicts nothing"
    if champion.lost:
        return "the store has lost the champion"
    if not champion.objects:
        return "there is no champion yet"
    if evaluation.lost:
        return "the store has lost the evaluation of the champion, which says how it decides"
    return "" if build.externals[NAME].files else "there are no files"


def _decisions(build: Build) -> Decisions:
    """How the champion decides; one that was adopted was never evaluated, and answers the likeliest label."""
    assert build.stored is not None
    evaluation = build.externals["champion_evaluation"].objects
    return read(build.stored(evaluation[0])) if evaluation else Decisions()


def _parsed(build: Build, format: str, options: Mapping[str, Any]) -> list[tuple[Part, int]]:  # noqa: A002 - as above
    """Rows of each content, and how many files have it. What is wrong with any file is told at once.

    A content is a shard of its own, however small: gathered with others, a new file would have them predicted again.
    """
    assert build.part is not None
    files = build.externals[NAME].files
    contents: dict[tuple[str, str], ObservedFile] = {}
    with renamed():
        of_file = [(format_of(file.name, format), file.sha256) for file in files]
    for content, file in zip(of_file, files, strict=True):
        contents.setdefault(content, file)
    counted = Counter(of_file)
    found: list[tuple[Part, int]] = []
    faults: list[DataError] = []
    for (form, sha256), file in sorted(contents.items()):
        try:
            with renamed():
                part = build.part(
                    "assets.raw.shard:parse", {"form": form, **options}, files=[file], environment=("pyarrow:major",)
                )
        except DataError as error:
            faults.append(error)
        else:
            found.append((part, counted[form, sha256]))
    if faults:
        raise together(faults)
    return found


def _scored(build: Build, parsed: Sequence[tuple[Part, int]], model: str, given: Mapping[str, Any]) -> list[Shard]:
    assert build.part is not None
    environment = ("torch", "transformers", "tokenizers", *(MASKING if given["mask_pii"] else ()))
    shards = []
    try:
        with build.progress.bar("files predicted", total=len(parsed)) as advance:
            for rows, names in parsed:
                scores = build.part(
                    "assets.predictions.scoring:score",
                    given,
                    inputs={"model": model, "shard": rows.digest},
                    environment=environment,
                )
                shards.append(Shard(rows, scores, names))
                advance(1)
    finally:
        # A model is large, and the process may go on for long.
        scoring.loaded.cache_clear()
    # The same bytes may be files of two formats, and come out as one shard; each counts.
    return sorted(shards, key=lambda shard: (shard.rows.digest, shard.scores.digest))


def _account(shards: Sequence[Shard], decisions: Decisions, labels: Sequence[str]) -> Measurements:
    """Every line that was read, by what became of it, and distinct rows by label."""
    told = dict.fromkeys(("read", "predicted", "without_text", "rejected"), 0)
    columns = []
    for shard in shards:
        row = read_tables([shard.rows.content], "places.feather", ["row"])["row"].to_numpy()
        columns.append(read_tables([shard.scores.content], "scores.feather")["scores"])
        of_rows = columns[-1].is_valid().to_numpy()[row[row >= 0]]
        told["read"] += shard.names * sum(lines for _, lines in files_of(shard.rows.content))
        told["predicted"] += shard.names * int(of_rows.sum())
        told["without_text"] += shard.names * int((~of_rows).sum())
        told["rejected"] += shard.names * int((row < 0).sum())
        if gone := sum(shard.rows.measurements.get("forgotten", {}).values()):
            told["forgotten"] = told.get("forgotten", 0) + shard.names * gone
    if not shards:
        return {**told, "rows": 0, "labels": {}}
    firsts = firsts_in_order(as_ids(read_tables(_rows(shards), "ids.feather")["row_id"]))
    scores = pa.chunked_array([chunk for column in columns for chunk in column.chunks], columns[0].type).take(firsts)
    _, chosen = chosen_of(scores, decisions, labels)
    counts = Counter(labels[at] for at in chosen.tolist())
    return {**told, "rows": len(firsts), "labels": dict(counts.most_common())}


def _rows(shards: Sequence[Shard]) -> list[Any]:
    return [shard.rows.content for shard in shards]


def _write(
    build: Build,
    shards: Sequence[Shard],
    told: Measurements,
    decisions: Decisions,
    labels: Sequence[str],
    keep: Sequence[str],
) -> None:
    links = {
        SHARDS: [shard.rows.digest for shard in shards],
        SCORES: [shard.scores.digest for shard in shards],
    }
    write_json(
        build.content / "predictions.json",
        {
            "model": told["model"],
            "labels": list(labels),
            "decisions": asdict(decisions),
            "columns": list(keep),
            "rows": told["rows"],
            "sha256": digest_json(links),
        },
    )
    write_links(build.content, links)
    pq.write_table(_rejected(shards), build.content / "rejected.parquet", compression="zstd")


def _rejected(shards: Sequence[Shard]) -> pa.Table:
    """Each distinct line that is no row, in the order of its identifier."""
    if not shards:
        names = ("row_id", "line_text", "reason", "detail")
        return pa.schema([(name, pa.string()) for name in names]).empty_table()
    found = read_tables(_rows(shards), "rejected.feather")
    found = found.set_column(0, "row_id", hexadecimal(as_ids(found["row_id"])))
    found = found.sort_by([(name, "ascending") for name in found.column_names])
    row_id = found["row_id"].to_numpy(zero_copy_only=False)
    return found.filter(np.append(True, row_id[1:] != row_id[:-1])[: len(row_id)])


def _said(told: Measurements) -> str:
    if told["reason"]:
        return f"nothing is predicted: {told['reason']}"
    left = told["without_text"] + told["rejected"]
    more = f"; {left:,} have no text or are no rows" if left else ""
    return f"{told['predicted']:,} of {told['read']:,} rows predicted{more}"
