"""Takes a model that was trained elsewhere into the store, so that it can be the first champion."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assets.errors import DataError
from assets.store.digests import write_json
from assets.store.store import Store


@dataclass(frozen=True)
class Adopted:
    """A model that was taken into the store.

    Attributes:
        model: its content digest.
        release: content digest of its card and of what stands for a decision about it.
        differences: what it and the task do not have in common, in sentences.
    """

    model: str
    release: str
    differences: tuple[str, ...]


def take(store: Store, files: Sequence[Path], *, pipeline: str, labels: Sequence[str], origin: str) -> Adopted:
    """Publish a model as if it had been trained here, after loading it once.

    Args:
        store: where it goes.
        files: of one model folder: configuration, safetensors weights, tokenizer.
        pipeline: the pipeline's name, for its card.
        labels: of the task.
        origin: where it came from, for its card.

    Raises:
        DataError: if it cannot be loaded, is no classifier, or shares no label with the task.
    """
    from assets.release.templates import render

    with store.staged() as folder:
        (folder / "model").mkdir()
        for file in files:
            shutil.copyfile(file, folder / "model" / file.name)
        answers = _labels(folder / "model", origin)
        differences = tuple(_differences(answers, labels, origin))
        architecture = json.loads((folder / "model" / "config.json").read_bytes())["architectures"][0]
        model = store.publish("objects", folder)
    with store.staged() as folder:
        context = {"pipeline": pipeline, "labels": answers, "architecture": architecture, "origin": origin}
        card = render("adopted.md.j2", {**context, "differences": differences})
        (folder / "card.md").write_text(card, encoding="utf-8")
        decision = {"decision": "adopted", "challenger": model, "comparisons": [], "metrics": {}, "baseline": {}}
        write_json(folder / "decision.json", {**decision, "origin": origin, "differences": list(differences)})
        return Adopted(model, store.publish("objects", folder), differences)


def _labels(folder: Path, origin: str) -> tuple[str, ...]:
    from safetensors import SafetensorError

    from assets.tasks.classification import finetuned
    from assets.tasks.loading import load_tokenizer

    try:
        _, labels = finetuned(folder)
        load_tokenizer(folder)
    except DataError as error:
        # Its place is a folder that is gone by the time that anybody reads of it.
        raise DataError(error.what, where=origin, fix=error.fix) from error
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise DataError(
            f"transformers cannot load it: {str(error).splitlines()[0]}",
            where=origin,
            fix="name the folder of a text classifier that transformers saved (save_pretrained), with its tokenizer",
        ) from error
    return labels


def _differences(answers: Sequence[str], labels: Sequence[str], origin: str) -> list[str]:
    if not set(answers) & set(labels):
        raise DataError(
            f"it knows none of the task's labels: it answers with {', '.join(answers)}; "
            f"the task has {', '.join(labels)}",
            where=origin,
            fix="write the task's labels into id2label and label2id of its config.json, or correct task.labels",
        )
    more = [label for label in answers if label not in labels]
    fewer = [label for label in labels if label not in answers]
    said = [f"It never answers with {', '.join(fewer)}, which the task has."] if fewer else []
    return [*said, f"It may answer with {', '.join(more)}, which the task has not."] if more else said
