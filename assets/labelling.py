"""Labels for texts of one's own, by a pipeline's model in use; what `freshtune predict` does, for Python.

from assets.labelling import predict

for prediction in predict("sms_spam", ["Call now to claim your prize", "See you at eight"]):
    print(prediction.label, prediction.confidence)
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assets import session
from assets.cleaned.normalise import normalise
from assets.errors import ConfigurationError
from assets.progress import Progress, discard
from assets.release import log
from assets.store.runner import Runner

if TYPE_CHECKING:
    from assets.evaluation.decisions import Decisions
    from assets.evaluation.predict import Predictor

CHUNK = 512
"""Texts predicted at once, so that any number of them fits into memory."""


@dataclass(frozen=True)
class Prediction:
    """What a model says of one text.

    Attributes:
        label: the most probable one, or what the threshold of `evaluation` says.
        confidence: its probability.
        scores: probability of each label, calibrated as `evaluation` found.
    """

    label: str
    confidence: float
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Labeller:
    """A model of a pipeline, ready to label texts as they come.

    Attributes:
        predictor: the model.
        decisions: how the evaluation by which the model was decided makes answers of scores.
        prepare: brings a text into the form of the texts that the model was trained on.
    """

    predictor: Predictor
    decisions: Decisions
    prepare: Callable[[str], str]

    @classmethod
    def of(cls, runner: Runner, model: str) -> Labeller:
        """Load a model.

        Args:
            runner: of its pipeline.
            model: its digest.

        Raises:
            DataError: it cannot be loaded.
            StoreError: the store has lost it.
        """
        from assets.evaluation.decisions import Decisions, read
        from assets.evaluation.predict import load  # imports transformers

        cleaning = runner.config.cleaning
        masked = _masking(cleaning.mask_pii)
        evaluation = log.evaluation(runner.store.log(runner.environment, runner.name), model)
        return cls(
            load(runner.store.open("objects", model) / "model", "auto"),
            Decisions() if evaluation is None else read(runner.store.open("objects", evaluation)),
            lambda text: masked(normalise(text, unicode=cleaning.unicode, whitespace=cleaning.whitespace)),
        )

    def label(self, texts: Sequence[str | None]) -> list[Prediction | None]:
        """Predict texts together; None for those that are blank."""
        from assets.evaluation.predict import predict as predict_texts  # imports transformers

        prepared = [self.prepare(text or "") for text in texts]
        there = [text for text in prepared if text.strip()]
        if not there:
            return [None] * len(texts)
        names = self.predictor.labels
        scores = self.decisions.calibrated(predict_texts(self.predictor, there, Progress("predict", discard))[1])
        chosen = self.decisions.chosen(scores, names).tolist()
        found = iter(zip(chosen, scores.tolist(), strict=True))
        return [self._prediction(*next(found)) if text.strip() else None for text in prepared]

    def _prediction(self, at: int, scores: Sequence[float]) -> Prediction:
        by_label = {name: round(score, 6) for name, score in zip(self.predictor.labels, scores, strict=True)}
        label = self.predictor.labels[at]
        return Prediction(label, by_label[label], by_label)


def predict(name: str, texts: Iterable[str], *, version: int | None = None) -> Iterator[Prediction | None]:
    """Label texts by the champion of a pipeline, or by another version of its model.

    The model is loaded at once; texts are taken and answered in chunks, in their order. They are prepared as the texts
    were that the model was trained on. Where the device has bf16 it is used: scores may differ from those of
    `evaluation` in the third digit.

    Args:
        name: folder under `pipelines/`; the project is the one of the working folder.
        texts: any number of them.
        version: number of the version in the registry, or None for the champion.

    Returns:
        A prediction for each text; None for a blank one.

    Raises:
        ConfigurationError: there is no such pipeline or version, or no model is in use yet.
        DataError: the model cannot be loaded.
        StoreError: the store has lost it.
    """
    runner = session.open_runner(name)
    labeller = Labeller.of(runner, _model(runner, version))
    given = iter(texts)
    chunks: Any = iter(lambda: list(itertools.islice(given, CHUNK)), [])
    return (prediction for chunk in chunks for prediction in labeller.label(chunk))


def _model(runner: Runner, version: int | None) -> str:
    """Digest of a model."""
    store, environment = runner.store, runner.environment
    if version is None:
        champion: str | None = log.champion(store.log(environment, runner.name))
        if champion is None:
            raise ConfigurationError(
                "no model is in use yet", where=runner.name, fix=f"freshtune run {runner.name}, or name a version"
            )
        return champion
    settled: Mapping[str, Any] = store.settled(environment, runner.name) or {}
    known: dict[int, str] = {int(number): model for model, number in settled.get("versions", {}).items()}
    if version not in known:
        raise ConfigurationError(
            f"no version {version}; there are {', '.join(map(str, sorted(known))) or 'none yet'}",
            where=runner.name,
            fix=f"`freshtune models {runner.name}` lists them",
        )
    return known[version]


def _masking(kinds: Sequence[str] | None) -> Callable[[str], str]:
    """What masks personal data in a text as cleaning does, or leaves it as it is."""
    if kinds is None:
        return str
    from assets.cleaned.masking import finder, mask_text

    find = finder(kinds)
    return lambda text: mask_text(text, find)[0]
