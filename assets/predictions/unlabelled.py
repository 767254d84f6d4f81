"""Which files hold texts to predict, and what is in them, without parsing them."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from assets.errors import FreshtuneError
from assets.raw.sources import in_files
from assets.store.digests import digest_json
from assets.store.step import FileIndex, Observation

if TYPE_CHECKING:
    from assets.config.pipeline import Pipeline

NAME = "unlabelled"


def observe(config: Pipeline, index: FileIndex) -> dict[str, Observation]:
    """Look at the unlabelled files as `assets.raw.sources` looks at labelled ones.

    A pattern may match nothing: a folder that files are dropped into is empty at first, and that stops no training.

    Raises:
        FreshtuneError: as there.
    """
    assert config.predictions is not None
    entries = config.predictions.source.files
    patterns = [entry for entry in entries if glob.has_magic(entry)]
    others = [entry for entry in entries if entry not in patterns]
    with renamed():
        looked = [*in_files(patterns, index, may_be_gone=True), *in_files(others, index, may_be_gone=False)]
    files = {file.name: file for file in looked}
    digest = digest_json([[name, files[name].sha256] for name in sorted(files)])
    ordered = tuple(files[name] for name in sorted(files))
    return {NAME: Observation("source", ", ".join(entries), digest, ordered)}


@contextmanager
def renamed() -> Iterator[None]:
    """Let an error of reading a source name the fields of this one: labelled files have the same under `source`."""
    try:
        yield
    except FreshtuneError as error:
        what, where, fix = (_ours(text) for text in (error.what, error.where, error.fix))
        raise type(error)(what, where=where, fix=fix) from error


def _ours(text: str) -> str:
    text = text.replace("(text, label, keep)", "(text, keep)")
    return re.sub(r"(?<![\w.])source\.(?=[a-z])", "predictions.source.", text)
