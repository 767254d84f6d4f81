"""The step's function: the four tests, corrected together, and what they say in numbers and pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.drift import measures, plots
from assets.drift.rows import new_and_old, sampled
from assets.evaluation.intervals import holm
from assets.store.digests import write_json

if TYPE_CHECKING:
    from assets.store.step import Build, Measurements

WORDS_SHOWN = 30
"""Most unknown words that are written down."""
SAID = {
    "labels": "share of new rows with another label than before",
    "lengths": "largest difference of the shares of texts up to a length",
    "vocabulary": "further share of words that the champion was not trained on",
    "separation": "area under the ROC curve of a classifier above chance",
}
"""What the effect of each test is."""


@dataclass(frozen=True)
class Compared:
    """Rows that are compared, one of each group of near-duplicates, with the columns of `assets.drift.rows`.

    Attributes:
        old: of those that the champion was made from.
        new: of those that came in since.
        trained: of those that the champion was trained on.
        held_out: of those that it was chosen by or tested on, without near-duplicates among the former.
        unlike: of the new ones without near-duplicates among those that the champion was trained on.
    """

    old: pa.Table
    new: pa.Table
    trained: pa.Table
    held_out: pa.Table
    unlike: pa.Table


def compare(
    build: Build,
    *,
    labels: Sequence[str],
    level: float,
    rows: int,
    min_rows: int,
    label_shift: float,
    length_shift: float,
    vocabulary_shift: float,
    separation: float,
) -> Measurements:
    """Compare the newest rows with those that the champion was made from.

    Content:
        drift.json: what is returned, and the commonest words of new rows that the champion was not trained on, each
            with the number of rows.

    Trace:
        labels.png, lengths.png, vocabulary.png: where something was compared.

    Args:
        build: input `splits`; external inputs `champion` and `champion_splits`.
        labels: names of the classes, in the model's order.
        level: chance of an alarm without drift.
        rows: most rows of each side that are looked at.
        min_rows: fewest new rows, near-duplicates counted once, that are compared.
        label_shift: least effect that alarms, and so the following; see `assets.drift.measures`.
        length_shift: of lengths.
        vocabulary_shift: of the vocabulary.
        separation: of the classifier.

    Returns:
        champion (digest or None), reason (why nothing was compared, or ""), level, new_rows, champion_rows,
        compared_rows, tests (name → p, p_adjusted, effect, least_effect, alarm, said), label_shares, text_lengths.
    """
    champion, made_from = build.externals["champion"], build.externals["champion_splits"]
    models = (*champion.objects, *champion.lost)
    told: dict[str, Any] = {"champion": models[0] if models else None, "reason": "", "level": level}
    if not models:
        return _nothing(build, told, "no champion yet that was made from other rows")
    if made_from.lost:
        return _nothing(build, told, "the store has lost the rows that the champion was made from")
    assert build.stored is not None
    new, old = new_and_old(build.inputs["splits"], [build.stored(digest) for digest in made_from.objects])
    told |= {"new_rows": len(new), "champion_rows": len(old)}
    compared = _compared(new, old, rows)
    if len(compared.new) < min_rows:
        apart = f"{len(compared.new):,} rows came in since the champion was made, near-duplicates counted once"
        return _nothing(build, told, f"{apart}; {min_rows:,} are needed")
    least = {"labels": label_shift, "lengths": length_shift, "vocabulary": vocabulary_shift, "separation": separation}
    told |= {"compared_rows": {"champion": len(compared.old), "new": len(compared.new)}}
    described, pictures = _described(compared, labels)
    told |= {"tests": _tests(build, compared, least, level), **described}
    for name in (name for name, found in told["tests"].items() if found["alarm"]):
        build.progress.message(f"drift of {name}: {told['tests'][name]['said']} {told['tests'][name]['effect']:.4f}")
    write_json(build.content / "drift.json", {**told, "words": _unknown_words(compared)})
    for name, picture in pictures.items():
        (build.trace / f"{name}.png").write_bytes(picture)
    return told


def _nothing(build: Build, told: dict[str, Any], reason: str) -> Measurements:
    build.progress.message(f"nothing to compare: {reason}")
    told |= {"reason": reason}
    write_json(build.content / "drift.json", told)
    return told


def _compared(new: pa.Table, old: pa.Table, most: int) -> Compared:
    is_train = pc.equal(old["side"], "train")
    trained, others = old.filter(is_train), old.filter(pc.invert(is_train))
    groups = trained["group"].combine_chunks()

    def apart(rows: pa.Table) -> pa.Table:
        return rows.filter(pc.invert(pc.is_in(rows["group"], value_set=groups)))

    return Compared(*(sampled(each, most) for each in (old, new, trained, apart(others), apart(new))))


def _tests(build: Build, compared: Compared, least: Mapping[str, float], level: float) -> dict[str, dict[str, Any]]:
    text = {
        name: getattr(compared, name)["text"].to_pylist() for name in ("old", "new", "trained", "held_out", "unlike")
    }
    with build.progress.bar("tests", total=len(least)) as advance:
        found = {"labels": measures.label_shift(*(rows["label"].to_pylist() for rows in (compared.old, compared.new)))}
        advance(1)
        found["lengths"] = measures.length_shift(text["old"], text["new"])
        advance(1)
        found["vocabulary"] = measures.vocabulary_shift(text["trained"], text["held_out"], text["unlike"])
        advance(1)
        halves = [_halves(rows) for rows in (compared.old, compared.new)]
        found["separation"] = measures.separation(text["old"], text["new"], *halves)
        advance(1)
    corrected = holm({name: shift.p for name, shift in found.items()})
    return {
        name: {
            "effect": round(shift.effect, 6),
            "least_effect": least[name],
            "p": float(f"{shift.p:.6g}"),
            "p_adjusted": float(f"{corrected[name]:.6g}"),
            # Of very many rows any difference is significant: it must also be one that matters.
            "alarm": corrected[name] <= level and shift.effect >= least[name],
            "said": SAID[name],
        }
        for name, shift in found.items()
    }


def _halves(rows: pa.Table) -> measures.Flags:
    """Which half each row falls into, by its group: a group's name is a row_id, which is a hash."""
    return np.array([int(group[-1], 16) % 2 == 1 for group in rows["group"].to_pylist()], dtype=bool)


def _described(compared: Compared, labels: Sequence[str]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What new and old rows are like, in numbers and in pictures."""
    sides = {"champion": compared.old, "new": compared.new}
    counts = {side: Counter(rows["label"].to_pylist()) for side, rows in sides.items()}
    lengths = {side: pc.utf8_length(rows["text"]).to_numpy() for side, rows in sides.items()}
    known = _known(compared)
    unknown = {
        side: np.array([measures.unknown_share(text, known) for text in rows["text"].to_pylist()])
        for side, rows in (("champion", compared.held_out), ("new", compared.unlike))
    }
    shares = [
        {"name": label, **{side: round(counts[side][label] / len(rows), 6) for side, rows in sides.items()}}
        for label in labels
    ]
    quantiles = [
        {"name": name, **{side: float(np.quantile(found, at)) for side, found in lengths.items()}}
        for name, at in (("shortest tenth", 0.1), ("median", 0.5), ("longest tenth", 0.9))
    ]
    pictures = {"labels": plots.labels(shares), "lengths": plots.lengths(lengths), "vocabulary": plots.unknown(unknown)}
    return {"label_shares": shares, "text_lengths": quantiles}, pictures


def _known(compared: Compared) -> set[str]:
    return {word for text in compared.trained["text"].to_pylist() for word in measures.words(text)}


def _unknown_words(compared: Compared) -> list[list[Any]]:
    known = _known(compared)
    found = Counter(
        word for text in compared.new["text"].to_pylist() for word in set(measures.words(text)) if word not in known
    )
    return [list(each) for each in sorted(found.items(), key=lambda each: (-each[1], each[0]))[:WORDS_SHOWN]]
