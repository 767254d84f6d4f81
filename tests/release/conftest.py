"""A release step with made-up inputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.config.home import Home
from assets.config.pipeline import Pipeline
from assets.errors import DamagedError
from assets.release import plots
from assets.release.decide import decide
from assets.store import ingredients
from assets.store.runner import Runner
from assets.store.step import Build, LogEntry, Measurements
from assets.store.store import Store
from tests.chains import pieces
from tests.conftest import MakeBuild
from tests.release.evaluated import write_all
from tests.release.material import (
    CHAIN,
    LABELS,
    METRICS,
    measurements,
    write_evaluation,
    write_json,
    write_model,
)
from tests.tiny import make_splits

Answers = Sequence[str]


@dataclass
class Release:
    """One run of `decide` and what it left.

    Attributes:
        build: what it was given.
        result: its measurements.
        evaluated: models that an evaluation was asked for.
    """

    build: Build
    result: Measurements
    evaluated: list[str] = field(default_factory=list)

    @property
    def decision(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.build.content / "decision.json").read_text(encoding="utf-8"))
        return value

    @property
    def card(self) -> str:
        return (self.build.content / "card.md").read_text(encoding="utf-8")

    @property
    def report(self) -> str:
        return (self.build.trace / "report.html").read_text(encoding="utf-8")

    @property
    def report_for_registry(self) -> str:
        return (self.build.trace / "registry.html").read_text(encoding="utf-8")

    @property
    def passed(self) -> dict[str, bool]:
        return {comparison["name"]: comparison["passed"] for comparison in self.result["comparisons"]}

    def message(self, name: str) -> str:
        return next(str(each["message"]) for each in self.result["comparisons"] if each["name"] == name)


MakeRelease = Callable[..., Release]


@pytest.fixture
def release(make_build: MakeBuild, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRelease:
    """Decide about a challenger called `new`, by what it, the champion and the baseline answer.

    Plots take longer than all the rest and are left out unless `draw`. What an evaluation may further write is there
    with the text `beside` in it.

    Every model that the log names is stored unless it is `lost`, and answers `champion`; its splits put the test rows
    of `trained_on` (by place), and a further row, into train or validation, and rows of another identifier with the
    texts of `same_texts` (by place) as well. In the splits of today the further row is in a group with the
    rows of `like` (by place). `splits-of-nothing` put no test row elsewhere. Challenger and champion were started from
    models of the splits in `inherited` and `champion_inherited`.
    """

    def make(
        true: Answers,
        new: Answers,
        *,
        baseline: Answers | None = None,
        champion: Answers | None = None,
        log: Sequence[LogEntry] = (),
        trained_on: Mapping[int, str] | None = None,
        same_texts: Mapping[int, str] | None = None,
        like: Sequence[int] = (),
        champion_labels: Sequence[str] = LABELS,
        lost: str = "",
        challenger: str = "new",
        labels: Sequence[str] = LABELS,
        texts: Sequence[str] | None = None,
        measured: dict[str, Measurements] | None = None,
        metric: str = "accuracy",
        floor: float | Mapping[str, float] | None = None,
        above_baseline: float | None = None,
        below_champion: float | None = 0.0,
        promote_if: str | None = None,
        margin: float | None = None,
        reference: bool = True,
        slices: bool = True,
        max_ece: float | None = None,
        promotion: str = "automatic",
        parts: Sequence[Sequence[str]] | None = None,
        others: Mapping[str, Answers] | None = None,
        servable: bool | None = None,
        max_size_mb: float | None = None,
        max_latency_ms: float | None = None,
        draw: bool = False,
        samples: int = 0,
        inherited: Sequence[str] = (),
        champion_inherited: Sequence[str] = (),
        beside: str | None = None,
    ) -> Release:
        base = tmp_path / f"inputs-{len(list(tmp_path.iterdir()))}"
        evaluated: list[str] = []

        def variant(step: str, inputs: Mapping[str, str]) -> Path:
            assert step == "evaluation"
            evaluated.append(inputs["model"])
            answers = (others or {}).get(inputs["model"], champion if champion is not None else true)
            return write_evaluation(base / "variant", true, answers, answers, labels)

        def stored(digest: str) -> Path:
            if digest == lost:
                raise DamagedError(f"object {digest} is damaged: it has rotted", where="the store", fix="run again")
            if digest.startswith("splits-of-"):
                known = {} if digest == "splits-of-nothing" else trained_on or {}
                sides = [known.get(at, "test") for at in range(len(true))]
                further = {len(true): "train", **(same_texts or {})}
                rows = [(f"text {at}", true[0]) for at in (*range(len(true)), *further)]
                return make_splits(store, rows, [*sides, *further.values()])
            if digest.startswith("content-"):
                write_json(
                    base / digest / "decision.json", {"decision": "promoted", "metrics": dict.fromkeys(METRICS, 0.5)}
                )
                return base / digest
            return write_model(base / digest, champion_labels, champion_inherited)

        # The further row of the champion's training rows is there still.
        now = make_splits(
            store,
            [(f"text {at}", label) for at, label in enumerate([*true, true[0]])],
            [*["test"] * len(true), "train"],
            dict.fromkeys([*like, len(true)] if like else (), min(like, default=0)),
        )
        build = make_build(
            inputs={
                "splits": now,
                "model": write_model(base / "model", labels, inherited),
                "evaluation": write_evaluation(base / "evaluation", true, new, baseline or new, labels, texts),
            },
            log=tuple(log),
            digests={"splits": "splits-digest", "model": challenger, "evaluation": "evaluation-digest"},
            measurements=measured or measurements(labels),
            variant=variant,
            stored=stored,
            settings={"evaluation": {"samples": samples}},
        )
        if parts is not None:
            path = build.inputs["evaluation"] / "predictions.parquet"
            rows = pq.read_table(path).append_column("slices", pa.array(parts, pa.list_(pa.string())))
            pq.write_table(rows, path)
        if beside is not None:
            write_all(build.inputs["evaluation"], labels, beside)
        with monkeypatch.context() as patch:
            for plot in () if draw else ("confusion", "curve"):
                patch.setattr(plots, plot, lambda *_: "<svg></svg>")
            result = decide(
                build,
                metric=metric,
                floor=floor,
                above_baseline=above_baseline,
                below_champion=below_champion,
                promote_if=promote_if,
                margin=margin,
                reference=reference,
                slices=slices,
                max_ece=max_ece,
                promotion=promotion,
                servable=servable,
                max_size_mb=max_size_mb,
                max_latency_ms=max_latency_ms,
            )
        return Release(build, result, evaluated)

    return make


OpenChain = Callable[[int], Runner]


@pytest.fixture
def open_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenChain:
    """Open the chain of `material`, whose model is made from a seed."""
    monkeypatch.setattr(ingredients, "code_pieces", pieces)
    for plot in ("confusion", "curve"):
        monkeypatch.setattr(plots, plot, lambda *_: "<svg></svg>")
    home = Home(tmp_path, str(tmp_path / "store"), "default", "sqlite://", None, tmp_path / "dagster")

    def opened(seed: int) -> Runner:
        fields = {
            "task": {"labels": LABELS},
            "source": {"files": ["x"]},
            "base_model": {"name": "m"},
            "training": {"seed": seed},
        }
        return Runner(Store(home.store, tmp_path / "cache"), CHAIN, "tiny", Pipeline.model_validate(fields), home)

    return opened
