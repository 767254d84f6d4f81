"""Reading which rows a model has in its weights beside its own: those of the models that it was started from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

CHAMPION = "champion"
"""External input of a training that may start from it: its object, or why it does not."""
ANCESTORS = "champion_ancestors"
"""External input: an `Ancestor` as JSON for each model that the champion's weights come from, itself included."""
HISTORY = "history.json"
"""In the content of the step: the curve of the training, and `ancestors` where there are any."""


class Ancestor(TypedDict):
    """A model that another was started from, directly or through others."""

    model: str
    """Content digest."""
    splits: list[str]
    """Content digests of the splits that it was made from; what stands for them since is told by the promotion log."""


def ancestors(read: Callable[[str], bytes]) -> list[Ancestor]:
    """The models that a model was started from, the nearest first; none where training began with the base model.

    Args:
        read: from the name of a file of the model's content to its bytes. A model from elsewhere has no history.
    """
    try:
        history = json.loads(read(HISTORY))
    except FileNotFoundError:
        return []
    found: list[Ancestor] = history.get("ancestors", [])
    return found


def ancestors_in(model: Path) -> list[Ancestor]:
    """Likewise, of the folder of a model's content."""
    return ancestors(lambda name: (model / name).read_bytes())
