"""Word embeddings of which only the rows of the batch are trained."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch  # noqa: TID253 - this module tests torch code

from assets.model.embeddings import touched_only


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = torch.nn.Embedding(20, 4)
        self.config = SimpleNamespace()

    def get_input_embeddings(self) -> Any:
        return self.words

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.words(ids).square().sum()  # type: ignore[no-any-return]


BATCHES = [torch.tensor([[1, 2, 2, 3]]), torch.tensor([[3, 4, 1, 1]]), torch.tensor([[5, 5, 5, 2]])]


def test_the_first_step_is_that_of_adamw_on_the_rows_of_the_batch_and_no_other() -> None:
    ours, torchs = Model(), Model()
    optimizer = torch.optim.AdamW(torchs.parameters(), lr=0.01, weight_decay=0.1)
    torchs(BATCHES[0]).backward()
    optimizer.step()

    with touched_only(ours, ours, learning_rate=0.01, weight_decay=0.1) as touched:
        ours(BATCHES[0]).backward()
        (gradient,) = touched.collect()
        touched.step(1, 1.0)

    rows, others = [1, 2, 3], [row for row in range(20) if row not in (1, 2, 3)]
    torch.testing.assert_close(ours.words.weight[rows], torchs.words.weight[rows])
    torch.testing.assert_close(gradient, torchs.words.weight.grad[rows])  # type: ignore[index]
    assert torch.equal(ours.words.weight[others], Model().words.weight[others])


def test_later_steps_are_those_of_sparse_adam_without_decay() -> None:
    ours, torchs = Model(), Model()
    torchs.words.sparse = True
    optimizer = torch.optim.SparseAdam(torchs.parameters(), lr=0.01)
    with touched_only(ours, ours, learning_rate=0.01, weight_decay=0.0) as touched:
        for number, batch in enumerate(BATCHES, start=1):
            optimizer.zero_grad()
            torchs(batch).backward()
            optimizer.step()  # type: ignore[no-untyped-call]
            ours(batch).backward()
            touched.collect()
            touched.step(number, 1.0)

    torch.testing.assert_close(ours.words.weight, torchs.words.weight)


def test_two_parts_of_a_batch_count_as_the_whole() -> None:
    def after(parts: list[torch.Tensor]) -> torch.Tensor:
        model = Model()
        with touched_only(model, model, learning_rate=0.01, weight_decay=0.1) as touched:
            for part in parts:
                model(part).backward()
            touched.collect()
            touched.step(1, 0.5)
        return model.words.weight.detach()

    torch.testing.assert_close(after(BATCHES[:2]), after([torch.cat(BATCHES[:2])]))


def test_the_model_is_as_it_was_afterwards_and_while_it_is_evaluated() -> None:
    model = Model()
    expected = model.words(BATCHES[0])
    with touched_only(model, model, learning_rate=0.01, weight_decay=0.0):
        assert [name for name, parameter in model.named_parameters() if parameter.requires_grad] == []
        model.eval()
        assert torch.equal(model.words(BATCHES[0]), expected)
    assert model.words.weight.requires_grad
    assert "forward" not in vars(model.words)
