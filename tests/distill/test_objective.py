from __future__ import annotations

import numpy as np
import pytest
import torch

from kdnas.distill.batches import Batch
from kdnas.distill.mapping import LayerMap
from kdnas.distill.outputs import Outputs, State
from kdnas.distill.packing import Packing
from kdnas.distill.terms import HiddenTerm


def hidden_term(normalisation: str = "layer", shared: bool = False) -> HiddenTerm:
    mean = torch.zeros(3, 2)
    variance = torch.tensor([[1.0, 1.0], [1.0, 3.0], [2.0, 2.0]])
    return HiddenTerm(LayerMap.skip_and_last(2, 2), 2, mean, variance, normalisation, shared)


def batch_of(mask: list[list[int]]) -> Batch:
    ids = torch.ones(len(mask), len(mask[0]), dtype=torch.long)
    inputs = {"input_ids": ids, "attention_mask": torch.tensor(mask)}
    return Batch(np.arange(len(mask)), inputs, None, Packing.of(np.array(mask, dtype=bool)))


def test_golden_hidden_loss() -> None:
    """Projections of zero leave the targets themselves: hand-computed shares of variance."""
    term = hidden_term()
    for projection in term.projections:
        torch.nn.init.zeros_(projection.weight)
        torch.nn.init.zeros_(projection.bias)
    batch = batch_of([[1, 1]])
    states = {State("hidden", i): torch.zeros(2, 2) for i in (1, 2)}
    first, second = torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 2.0], [2.0, 0.0]])
    signal = {State("hidden", 1): first, State("hidden", 2): second}
    loss = term.loss(Outputs(states), batch, Outputs(signal))
    # Layer 1: (4 / 4 + 0) / 2 tokens, twice the same layer; layer 2: (4 / 4 + 4 / 4) / 2 tokens.
    assert loss.item() == pytest.approx((0.5 + 1.0) / 2)


def test_one_projection_a_layer_or_one_for_all() -> None:
    assert len(hidden_term().projections) == 2
    shared = hidden_term(shared=True)
    assert len(shared.projections) == 1
    assert shared.projection(0) is shared.projection(1)
    assert tuple(shared.projections[0].weight.shape) == (4, 2)


def test_a_layer_named_twice_is_predicted_once() -> None:
    term = hidden_term()
    assert [tuple(p.weight.shape) for p in term.projections] == [(2, 2), (2, 2)]
    mixed = HiddenTerm(LayerMap(((1, 2), (2, 2))), 2, torch.zeros(3, 2), torch.ones(3, 2))
    assert [tuple(p.weight.shape) for p in mixed.projections] == [(4, 2), (2, 2)]
