"""Queries, keys and values of a forward pass are those that the layers compute."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from support.ragged import PAD, model_of, ragged_data

from kdnas.distillation.batches import Batch, collate
from kdnas.distillation.forward import forward
from kdnas.distillation.outputs import HEADS, OutputRequest, State, attention_states
from kdnas.space.families import FAMILIES, family_of
from kdnas.tasks import EncodedExamples

DISENTANGLED = {
    "relative_attention": True,
    "position_buckets": 8,
    "pos_att_type": ["p2c", "c2p"],
    "share_att_key": True,
}


@pytest.fixture
def batch() -> Batch:
    return collate(ragged_data(), np.arange(9), PAD)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_queries_keys_and_values_are_those_of_the_layer(
    family: str, make_teacher: Callable[..., Path], batch: Batch
) -> None:
    changes = DISENTANGLED if family == "deberta-v2" else {}
    model = model_of(make_teacher(family, **changes))
    apart = {}
    for path, parameter in model.named_parameters():  # DeBERTa's first biases
        if path.endswith(("layer.1.attention.self.q_bias", "layer.1.attention.self.v_bias")):
            apart[{"q": "query", "v": "value"}[path[-6]]] = parameter
            torch.nn.init.normal_(parameter)
    depth = 2
    heard: dict[str, list[torch.Tensor]] = {kind: [] for kind in HEADS}
    of = family_of(family, family)

    def hear(units: tuple[str, ...], _: torch.nn.Module, __: tuple, output: torch.Tensor) -> None:
        heads = (4, 3) if of.by_head else (3, 4)
        parts = output.view(*output.shape[:2], *heads, -1) if len(units) > 1 else output
        each = parts.unbind(3 if of.by_head else 2) if len(units) > 1 else [output]
        for unit, part in zip(units, each, strict=True):
            heard[unit].append(part.flatten(2))

    for path, module in model.named_modules():
        if units := of.units_of(path):
            module.register_forward_hook(partial(hear, units))
    model(**batch.inputs)
    mask = batch.inputs["attention_mask"].bool()
    tokens = {k: [o for o in v if o.shape[:2] == mask.shape] for k, v in heard.items()}
    said = forward(model, batch, OutputRequest(attention_states(depth))).states
    assert set(said) == attention_states(depth)
    for kind in HEADS:
        expected = tokens[kind][depth - 1][mask] + apart.get(kind, 0)
        torch.testing.assert_close(said[State(kind, depth)], expected, atol=2e-5, rtol=1e-4)


def test_relative_positions_are_not_taken_for_tokens(make_teacher: Callable[..., Path]) -> None:
    """DeBERTa reads 2 * 8 of them, here as many as there are tokens."""
    model = model_of(make_teacher("deberta-v2", **DISENTANGLED))
    ids = np.tile(np.arange(5, 21, dtype=np.int32), 2)
    twice = EncodedExamples(ids, None, np.array([0, 16, 32]))
    wanted = OutputRequest(attention_states(2))
    expected = forward(model, collate(twice, np.arange(2), PAD), wanted).states
    found = forward(model, collate(twice, np.arange(1), PAD), wanted).states
    for state, value in found.items():
        torch.testing.assert_close(value, expected[state][:16], atol=2e-5, rtol=1e-4)
