"""A copy of the model in bfloat16 that training runs on: its gradients, and that it follows the weights."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import torch  # noqa: TID253 - this module tests torch code

from assets.model.curves import Pace
from assets.model.devices import ALONE
from assets.model.examples import Examples
from assets.model.mirror import Mirror
from assets.model.stepping import Training
from assets.progress import Progress
from assets.tasks.classification import pretrained
from assets.tasks.tokens import Tokens
from assets.tasks.unpadded import unpadded
from tests.model.pair import RECIPE
from tests.tiny import LABELS, make_base_model


def small() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 2))


VALUES = torch.randn(16, 8, generator=torch.Generator().manual_seed(1))


def test_gradients_are_those_of_the_model_but_for_rounding() -> None:
    exact, mirror = small(), Mirror.in_bf16(small())
    exact(VALUES).square().mean().backward()
    for _ in range(2):  # what is left of the step before does not count
        mirror.clear()
        mirror.stand_in(VALUES.bfloat16()).float().square().mean().backward()
        mirror.gather(first=True)
        found = mirror.gradients()

    assert [gradient.dtype for gradient in found] == [torch.float32] * 4
    for gradient, ours, theirs in zip(found, mirror.model.parameters(), exact.parameters(), strict=True):
        assert gradient is ours.grad
        torch.testing.assert_close(gradient, theirs.grad, rtol=0.05, atol=0.01)


def test_the_copy_follows_the_weights_which_stay_in_float32() -> None:
    mirror = Mirror.in_bf16(small())
    step = 1e-4  # less than bfloat16 tells apart at 1, so only float32 adds them up
    with torch.no_grad():
        for weight in mirror.model.parameters():
            weight.fill_(1.0)
        for _ in range(100):
            for weight in mirror.model.parameters():
                weight.add_(step)
            mirror.refresh()

    for weight, other in zip(mirror.model.parameters(), mirror.stand_in.parameters(), strict=True):
        assert (weight.dtype, other.dtype) == (torch.float32, torch.bfloat16)
        torch.testing.assert_close(weight, torch.full_like(weight, 1.01))
        assert torch.equal(other, weight.bfloat16())


def test_a_weight_that_took_no_part_has_no_gradient() -> None:
    mirror = Mirror.in_bf16(small())
    for part in (mirror.stand_in, mirror.stand_in[1]):  # what it had in the batch before does not count
        part(VALUES.bfloat16()).sum().backward()
        mirror.gather(first=True)

    assert len(mirror.gradients()) == 2
    assert mirror.model[0].weight.grad is None


def test_parts_of_a_batch_add_up_in_float32(tmp_path: Path) -> None:
    # 512 equal gradients: added up in bfloat16 they come to 256 of them.
    model = pretrained(make_base_model(tmp_path), LABELS)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    train = Examples(
        ["row"] * 512, [LABELS[0]] * 512, Tokens.of([[2, 7, 8, 3]] * 512), torch.zeros(512, dtype=torch.int64)
    )
    mirror = Mirror.in_bf16(model)
    found = []
    with unpadded(mirror.stand_in, 0) as forward:
        training = Training(
            mirror,
            train,
            RECIPE,
            forward=forward,
            touched=None,
            padded=False,
            device=torch.device("cpu"),
            casting=nullcontext,
            devices=ALONE,
            progress=Progress("model"),
            pace=Pace(),
        )
        training.parts.most = 1
        for batch in ([0], list(range(512))):
            training._gradients(batch)
            found.append([gradient.clone() for gradient in mirror.gradients()])

    # The mean of equal rows is that of one: 512 is a power of two, so dividing by it rounds nothing.
    one, many = (torch.cat([gradient.flatten() for gradient in each]) for each in found)
    assert one.norm() > 0.1
    torch.testing.assert_close(many, one)


def test_a_model_may_stand_for_itself() -> None:
    model = small()
    mirror = Mirror(model, model)
    model(VALUES).sum().backward()
    mirror.gather(first=True)
    expected = [weight.grad for weight in model.parameters()]

    assert all(one is other for one, other in zip(mirror.gradients(), expected, strict=True))
    mirror.refresh()
    mirror.clear()
    assert mirror.gradients() == []
