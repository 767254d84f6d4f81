"""A compiled body: one compilation for all batches, to the same logits and gradients.

The kernel of the attention is one for CPUs (`tests.tasks.kernel`), the layout and all other code are those of a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch  # noqa: TID253 - this module tests torch code
from torch._dynamo.utils import counters  # noqa: TID253 - likewise

import tests.tasks.kernel  # noqa: F401 - registers it
from assets.errors import ConfigurationError
from assets.model import loop
from assets.model.activations import recomputed
from assets.model.compiled import compiled, why_not_compiled
from assets.model.devices import ALONE
from assets.model.lora import adapt
from assets.model.stepping import Training
from assets.progress import Event
from assets.tasks import unpadded as module
from assets.tasks.device import choose_device
from assets.tasks.unpadded import body_of, lay_out, unpadded
from tests.model.pair import alike, trained
from tests.tasks.test_unpadded import MODELS, SIZES, gradients, some_rows

# torch hides it where Dynamo asks for it, but not where warnings are errors.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
GPU = torch.device("cuda")
CPU = torch.device("cpu")
ALIKE = [[[5] * 8] * 4, [[7] * 4] * 3]
"""Two batches; the first has as many tokens as the models are wide, and texts as heads."""


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "lay_out", lambda *rows, **how: lay_out(*rows, **{**how, "by_offsets": True}))
    # As it would be for Inductor, without the minute that Inductor takes.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    monkeypatch.setitem(SIZES, "num_hidden_layers", 1)
    torch._dynamo.reset()
    counters.clear()
    with torch._dynamo.config.patch(error_on_recompile=True):
        yield
    torch._dynamo.reset()


def a_model(name: str = "bert") -> Any:
    torch.manual_seed(0)
    model = MODELS[name]().train()
    for each in model.modules():
        if isinstance(each, torch.nn.Dropout):
            each.p = 0.0
    return model


@contextmanager
def running(model: Any, *contexts: Any) -> Iterator[Any]:
    """Run it as training on a GPU does."""
    with ExitStack() as stack:
        forward = stack.enter_context(unpadded(model, model.config.pad_token_id))
        stack.enter_context(torch.autocast(model.device.type, torch.bfloat16))
        for context in contexts:
            stack.enter_context(context)
        yield forward


def found(model: Any, batches: list[list[list[int]]], *contexts: Any) -> list[tuple[Any, dict[str, Any]]]:
    with running(model, *contexts) as forward:
        return [((logits := forward(rows)).detach(), gradients(model, logits)) for rows in batches]


def same(ours: list[Any], theirs: list[Any], tolerance: float = 0.02) -> None:
    for (logits, of_ours), (expected, of_theirs) in zip(ours, theirs, strict=True):
        torch.testing.assert_close(logits, expected, rtol=tolerance, atol=tolerance / 10)
        assert of_ours.keys() == of_theirs.keys()
        for name, gradient in of_theirs.items():
            torch.testing.assert_close(of_ours[name], gradient, rtol=tolerance, atol=tolerance / 10, msg=name)


@pytest.mark.parametrize("name", MODELS)
def test_one_compilation_serves_all_batches(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "modernbert":
        # Its first layer sees all of a text, its second one a window.
        monkeypatch.setitem(SIZES, "num_hidden_layers", 2)
    elif name != "bert":
        # They differ in what is traced: that takes a third of the time.
        monkeypatch.setattr(torch, "compile", partial(torch.compile.func, backend="eager"))  # type: ignore[attr-defined]
    model = a_model(name)
    batches = [*ALIKE, *(some_rows(count, seed=count) for count in (9, 1, 2, 16))]
    expected = found(model, batches)

    same(found(model, batches, compiled(model)), expected)

    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]


def test_activations_are_computed_again_in_it() -> None:
    model, rows = a_model(), some_rows(9, seed=9)
    held: dict[int, int] = {}

    def hold(tensor: torch.Tensor) -> torch.Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    def kept(*contexts: Any) -> int:
        """Bytes that a forward pass keeps, weights aside."""
        held.clear()
        with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
            ran.append(found(model, [rows], *contexts))
        weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
        return sum(size for address, size in held.items() if address not in weights)

    ran: list[Any] = []
    whole = kept()

    assert kept(recomputed(model), compiled(model)) < whole / 3
    assert counters["stats"]["unique_graphs"] == 1
    same(ran[1], ran[0])


def test_updates_of_low_rank_are_compiled_too() -> None:
    model, batches = a_model(), [some_rows(count, seed=count) for count in (5, 9)]
    adapt(model, 2)
    expected = found(model, batches)

    same(found(model, batches, compiled(model)), expected)

    assert counters["stats"]["unique_graphs"] == 1


def test_outside_of_training_nothing_is_compiled() -> None:
    model = a_model()
    before = body_of(model).forward
    with running(model, compiled(model)) as forward, torch.inference_mode():
        assert torch._inductor.config.deterministic
        model.eval()
        forward(some_rows(4, seed=0))

    assert not counters["stats"]
    assert body_of(model).forward == before


def test_what_cannot_be_compiled_is_said_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise ValueError("no compiler")

    monkeypatch.setattr(torch, "compile", partial(torch.compile.func, backend=refuse))  # type: ignore[attr-defined]
    model = a_model()

    with pytest.raises(ConfigurationError) as refused:
        found(model, [some_rows(4, seed=0)], compiled(model))

    assert str(refused.value) == (
        f"training.compile: torch {torch.__version__} cannot compile this bert: "
        "backend='refuse' raised: ValueError: no compiler\n"
        "  fix: leave it out: training goes on without, to the same model within rounding"
    )


def test_batches_that_fit_nothing_that_was_compiled_end_it_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batches = a_model(), [some_rows(count, seed=count) for count in (5, 9)]
    # For each number of texts anew, and once only.
    fixed: dict[str, Any] = {"assume_static_by_default": True, "automatic_dynamic_shapes": False, "recompile_limit": 1}
    fixed["error_on_recompile"] = False
    monkeypatch.setattr(torch, "compile", lambda plain, by=torch.compile, **how: by(plain, **{**how, "dynamic": False}))
    with (
        torch._dynamo.config.patch(fixed),
        pytest.raises(ConfigurationError, match=r"batches of this bert fit none of the bodies .*\n  fix: leave it out"),
    ):
        found(model, batches, compiled(model))


def test_where_nothing_is_compiled() -> None:
    assert why_not_compiled(GPU, padded=False, sharded=False) is None
    assert why_not_compiled(CPU, padded=False, sharded=False) == "there is no GPU, which alone would be faster for it"
    assert why_not_compiled(GPU, padded=True, sharded=False) == "batches are padded"
    assert why_not_compiled(GPU, padded=False, sharded=True) == "the model is shared out among devices"


def test_a_training_that_is_compiled_and_taken_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Event] = []
    monkeypatch.setattr(loop, "why_not_compiled", lambda *_, **__: None)
    monkeypatch.setattr(loop, "fast_dropout", nullcontext)  # it is not a GPU's
    eager = trained(tmp_path / "eager", ALONE, dropout=0.1)
    ran: list[list[int]] = []
    gradients_of = Training._gradients

    def noted(self: Training, batch: list[int]) -> torch.Tensor:
        ran.append(batch)
        return gradients_of(self, batch)

    monkeypatch.setattr(Training, "_gradients", noted)
    whole = trained(tmp_path / "whole", ALONE, dropout=0.1, compiling=True, sink=said.append)
    trained(tmp_path / "stopped", ALONE, dropout=0.1, compiling=True, stop_at=5)

    compiled_on = ran[0]
    ran.clear()
    taken_up = trained(tmp_path / "stopped", ALONE, dropout=0.1, compiling=True)

    # Before it is taken up, and on the batch that it was compiled on at the beginning.
    assert ran[0] == compiled_on
    assert len(ran) == 1 + 10 - 5
    assert counters["stats"]["unique_graphs"] == 1
    assert "the model's body is compiled, which takes a minute or more" in [
        event["text"] for event in said if event["kind"] == "message"
    ]
    alike(whole, eager)
    assert {name: taken_up[name] for name in ("weights", "steps", "epochs")} == {
        name: whole[name] for name in ("weights", "steps", "epochs")
    }


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_it_comes_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", torch.compile.func)  # type: ignore[attr-defined]
    model, batches = a_model().to(choose_device()), [some_rows(count, seed=count) for count in (9, 1, 16)]
    expected = found(model, batches)

    same(found(model, batches, compiled(model)), expected)

    assert counters["stats"]["unique_graphs"] == 1


def test_on_a_cpu_it_is_said_that_nothing_is_compiled(tmp_path: Path) -> None:
    said: list[Event] = []

    trained(tmp_path / "plain", ALONE, compiling=True, sink=said.append, epochs=1)

    assert "nothing is compiled: there is no GPU, which alone would be faster for it" in [
        event["text"] for event in said if event["kind"] == "message"
    ]
    assert not counters["stats"]
