"""A chain of four tiny steps, for tests of the runner: source → letters → upper → (count) and a step that decides."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assets.errors import DataError
from assets.store.step import Beginning, Build, Check, LogEntry, Measurements, Observation, Outcome, Settlement, Step
from tests.chains import observe

calls: list[str] = []
settled: list[int] = []
stood_for: list[Measurements | None] = []


def letters(build: Build, *, sample: int | None) -> Measurements:
    calls.append("letters")
    words = sorted({Path(file.path).read_text().lower() for file in build.externals["source"].files})[:sample]
    if "bad" in words:
        raise DataError("a bad word", where="words", fix="leave it out")
    (build.content / "words.json").write_text(json.dumps(words))
    build.progress.message(f"{len(words)} words")
    return {"words": len(words)}


def upper(build: Build, *, salt: str) -> Measurements:
    calls.append("upper")
    assert build.part is not None
    part = build.part(
        "tests.store.tiny_chain:shared", {"times": 2}, inputs={"letters": build.digests["letters"]}
    ).content
    words = json.loads((build.inputs["letters"] / "words.json").read_text())
    (build.content / "upper.json").write_text(json.dumps([word.upper() + salt for word in words]))
    (build.trace / "note.txt").write_text((part / "n.txt").read_text())
    return {"words": len(words)}


def shared(build: Build, *, times: int) -> Measurements:
    calls.append("shared")
    (build.content / "n.txt").write_text((build.inputs["letters"] / "words.json").read_text() * times)
    return {}


def decide(build: Build, *, metric: str) -> Measurements:
    calls.append("decide")
    assert build.variant is not None
    champion = build.log[-1].fields["champion"] if build.log else None
    again = build.variant("upper", {"letters": build.digests["letters"]})
    assert (again / "upper.json").exists()
    decision: dict[str, Any] = {
        "decision": "unchanged" if champion == build.digests["upper"] else "promoted",
        "challenger": build.digests["upper"],
        "comparisons": [],
        "metric": metric,
    }
    (build.content / "decision.json").write_text(json.dumps(decision))
    return {"seen": sorted(build.measurements)}


def settle(settlement: Settlement) -> dict[str, Any]:
    settled.append(len(settlement.entries))
    return {"versions": {entry.fields["challenger"]: entry.number for entry in settlement.entries}}


def reads(build: Build) -> Measurements:
    assert build.stored is not None
    then = build.externals["letters_then"]
    words = [json.loads((build.stored(digest) / "words.json").read_text()) for digest in then.objects]
    (build.content / "words.json").write_text(json.dumps([words, then.lost]))
    return {"there": words, "lost": list(then.lost)}


def named_first(
    entries: Sequence[LogEntry], inputs: Mapping[str, str], stood: Measurements | None
) -> dict[str, list[str]]:
    """The letters of the first decision."""
    assert set(inputs) == {"letters"}
    stood_for.append(stood)
    return {"letters_then": [entry.fields["inputs"]["letters"] for entry in entries[:1]]}


def newest(beginning: Beginning) -> dict[str, Observation]:
    """The letters of the newest decision, or of that which it began with before; see `Step.recorded`."""
    before = () if beginning.before is None else tuple(beginning.before["digests"])
    digests = before or tuple(entry.fields["inputs"]["letters"] for entry in beginning.entries[-1:])
    return {"letters_then": Observation("input", "promotion log", "", objects=digests)}


def starts(build: Build) -> Measurements:
    calls.append("starts")
    return {**reads(build), "digests": list(build.externals["letters_then"].objects)}


def enough(measurements: Measurements, config: Any) -> Outcome:
    return Outcome(measurements["words"] > 1, f"{measurements['words']} words")


def chain(folder: Path) -> list[Step]:
    here = "tests.store.tiny_chain"
    return [
        Step(
            "letters",
            "reads",
            f"{here}:letters",
            configuration=("run.sample",),
            externals=lambda _, index: observe(folder, index),
            checks=(Check("enough", "more than one word", enough, blocking=True),),
        ),
        Step("upper", "shouts", f"{here}:upper", inputs=("letters",), configuration=("splits.salt",)),
        Step(
            "release",
            "decides",
            f"{here}:decide",
            inputs=("letters", "upper"),
            configuration=("gate.metric",),
            decides=True,
            settle=f"{here}:settle",
        ),
    ]
