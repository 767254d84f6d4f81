"""Inductor, which `torch.compile` uses, on a compiled body; on a CPU it takes a C++ compiler and most of a minute."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest
import torch  # noqa: TID253 - this module tests torch code
from torch._dynamo.utils import counters  # noqa: TID253 - likewise

from assets.model.compiled import compiled
from tests.model.test_compiled import a_model, as_on_a_gpu, found, same
from tests.tasks.test_unpadded import some_rows

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(900),
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++"),
    pytest.mark.usefixtures(as_on_a_gpu.__name__),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
    # Inductor's own patterns are scripted.
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
]


def test_inductor_comes_to_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="inductor"))
    model, batches = a_model(), [some_rows(count, seed=count) for count in (9, 1, 16)]
    expected = found(model, batches)

    same(found(model, batches, compiled(model)), expected)

    made = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*.so")}
    assert made
    # What torch keeps there for other processes would be loaded by pickle.
    assert {path.name for path in tmp_path.iterdir()}.isdisjoint({"fxgraph", "aotautograd"})
    assert counters["stats"]["unique_graphs"] == 1
