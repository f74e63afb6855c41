from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kdnas.distill.batches import Batch
from kdnas.distill.mapping import LayerMap
from kdnas.distill.objective import HiddenTerm
from kdnas.distill.signal import Signal


def hidden_term(normalisation: str = "layer", shared: bool = False) -> HiddenTerm:
    mean = torch.zeros(3, 2)
    variance = torch.tensor([[1.0, 1.0], [1.0, 3.0], [2.0, 2.0]])
    return HiddenTerm(LayerMap.skip_and_last(2, 2), 2, mean, variance, normalisation, shared)


def batch_of(mask: list[list[int]]) -> Batch:
    ids = torch.ones(len(mask), len(mask[0]), dtype=torch.long)
    inputs = {"input_ids": ids, "attention_mask": torch.tensor(mask)}
    return Batch(np.arange(len(mask)), inputs, None)


def test_golden_hidden_loss() -> None:
    """Projections of zero leave the targets themselves: hand-computed shares of variance."""
    term = hidden_term()
    for projection in term.projections:
        torch.nn.init.zeros_(projection.weight)
        torch.nn.init.zeros_(projection.bias)
    batch = batch_of([[1, 1]])
    states = [torch.zeros(1, 2, 2)] * 3
    hidden = {1: torch.tensor([[2.0, 0.0], [0.0, 0.0]]), 2: torch.tensor([[0.0, 2.0], [2.0, 0.0]])}
    loss = term.loss(SimpleNamespace(hidden_states=states), batch, Signal(hidden))
    # Layer 1: (4 / 4 + 0) / 2 tokens, twice the same layer; layer 2: (4 / 4 + 4 / 4) / 2 tokens.
    assert loss.item() == pytest.approx((0.5 + 1.0) / 2)


def test_padding_never_counts() -> None:
    torch.manual_seed(0)
    term = hidden_term()
    real, padded = torch.randn(1, 2, 2), torch.randn(1, 4, 2) * 100
    padded[:, :2] = real
    signal = Signal({1: torch.randn(2, 2), 2: torch.randn(2, 2)})
    short = term.loss(SimpleNamespace(hidden_states=[real] * 3), batch_of([[1, 1]]), signal)
    long = term.loss(SimpleNamespace(hidden_states=[padded] * 3), batch_of([[1, 1, 0, 0]]), signal)
    assert short.item() == pytest.approx(long.item(), rel=1e-6)


def test_one_projection_a_layer_or_one_for_all() -> None:
    assert len(hidden_term().projections) == 2
    shared = hidden_term(shared=True)
    assert len(shared.projections) == 1
    assert shared.projection(0) is shared.projection(1)
    assert tuple(shared.projections[0].weight.shape) == (4, 2)
