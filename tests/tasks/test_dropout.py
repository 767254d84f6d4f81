"""Dropout from shared random bits: the right share, the right scale, the seed, and only for a while."""

from __future__ import annotations

import pytest
import torch  # noqa: TID253 - this module tests torch code

from assets.tasks.dropout import dropping, fast_dropout


@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_share_and_the_mean_are_those_of_dropout(share: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    values = torch.ones(1001, 1000, dtype=dtype)

    found = dropping(values, share, True)

    assert found.dtype == dtype
    dropped = (found == 0).float()
    # Five standard errors of a share of 10^6 draws; also in each of the four elements that share a number.
    assert float(dropped.mean()) == pytest.approx(share, abs=0.0025)
    for lane in range(4):
        assert float(dropped.flatten()[lane::4].mean()) == pytest.approx(share, abs=0.005)
    assert float(found[found != 0].float().mean()) == pytest.approx(1 / (1 - share), rel=0.005)
    neighbours = torch.corrcoef(dropped.flatten().view(-1, 4).T)
    assert float((neighbours - torch.eye(4)).abs().max()) < 0.01


def test_the_gradient_passes_where_the_value_did() -> None:
    values = torch.ones(64, requires_grad=True)
    found = dropping(values, 0.5, True)
    found.sum().backward()  # type: ignore[no-untyped-call]

    assert values.grad is not None
    assert torch.equal(values.grad, found.detach())


def test_nothing_is_dropped_outside_of_training_or_at_share_zero() -> None:
    values = torch.randn(10)

    assert dropping(values, 0.5, False) is values
    assert dropping(values, 0.0, True) is values


def test_the_seed_decides() -> None:
    def draw() -> torch.Tensor:
        torch.manual_seed(3)
        return dropping(torch.ones(100), 0.3, True)

    assert torch.equal(draw(), draw())


def test_a_model_has_its_own_dropout_again_afterwards() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Sequential(torch.nn.Dropout(0.5)))
    before = [type(module) for module in model.modules()]
    with fast_dropout(model):
        assert torch.nn.Dropout not in [type(module) for module in model.modules()]
        model.eval()

    assert [type(module) for module in model.modules()] == before
    assert not any(module.training for module in model.modules())
