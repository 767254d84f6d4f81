"""What the champion says about texts without labels: each file once for each champion, whatever it is called.

Nothing is trained on what it says, and no step reads it. It comes after `release`, so that the run that promotes a
model ends with its predictions.

- `unlabelled` looks at the files.
- `predict` is the step's function; `scoring` is its part for one file; `rows` reads the
  result, and says what scores come to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from assets.cleaned import MASKING
from assets.predictions.checks import CHECKS
from assets.predictions.unlabelled import observe
from assets.release import log
from assets.store.step import LogEntry, Measurements, Step


def champion(
    entries: Sequence[LogEntry], _inputs: Mapping[str, str], _stood: Measurements | None
) -> dict[str, tuple[str, ...]]:
    """What the step reads of the promotion log: the champion, and the evaluation that its latest decision was made on.

    A refused challenger changes neither. An adopted champion was never evaluated.
    """
    model = log.champion(entries)
    decided = [] if model is None else log.decisions(entries, model)
    return {
        "champion": () if model is None else (model,),
        "champion_evaluation": tuple(fields["inputs"]["evaluation"] for fields in decided[-1:]),
    }


STEP = Step(
    name="predictions",
    description="What the champion says about texts without labels; a file is predicted once for each champion.",
    function="assets.predictions.predict:predict",
    after=("release",),
    wanted=lambda config: config.predictions is not None,
    configuration=(
        "predictions.source.format",
        "predictions.source.names",
        "predictions.source.quoting",
        "predictions.source.encoding",
        "predictions.source.columns",
        "cleaning.unicode",
        "cleaning.whitespace",
        "cleaning.mask_pii",
        "run.sample",
    ),
    externals=observe,
    promoted=champion,
    forgets=True,
    environment=("torch", "transformers", "tokenizers", "numpy", "pyarrow:major"),
    libraries=lambda config: () if config.cleaning.mask_pii is None else MASKING,
    checks=CHECKS,
    kinds=("pytorch", "parquet"),
)
