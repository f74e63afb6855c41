"""An encoder-decoder says and learns what plain transformers does; in bf16 it comes close."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.tiny_pairs import PAD, VARIANTS, pair_data, tiny_pair
from transformers import PreTrainedModel

from kdnas.distillation.batches import Batch, collate
from kdnas.distillation.forward import forward
from kdnas.distillation.modules import layers_of
from kdnas.distillation.outputs import OutputRequest, hidden_states
from kdnas.distillation.precision import working_precision
from kdnas.runtime.device import Runtime, start_runtime

PAIRS = sorted({model_type for model_type, _ in VARIANTS})
WORDS = 200
WANTED = OutputRequest(hidden_states([2]) | hidden_states([1, 2], "decoder"), logits=True)


@pytest.fixture
def batch() -> Batch:
    return collate(pair_data(WORDS), np.arange(6), PAD)


def gradients(model: PreTrainedModel, logits: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    logits.log_softmax(-1).square().mean().backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("model_type", PAIRS)
def test_the_head_sees_target_tokens_alone_and_learns_the_same(
    model_type: str, batch: Batch, runtime: Runtime
) -> None:
    model = tiny_pair(model_type, vocab_size=WORDS).eval()
    usual = model.config._attn_implementation
    output = model(**batch.inputs)
    expected = output.logits[batch.units.example, batch.units.position]
    wanted = gradients(model, expected)
    with working_precision(model, runtime):
        found = forward(model, batch, WANTED).logits
    assert found is not None and found.shape == expected.shape
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    learnt = gradients(model, found)
    assert learnt.keys() == wanted.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(learnt[name], gradient, atol=1e-4, rtol=1e-3)
    assert model.config._attn_implementation == usual
    head = model.get_output_embeddings()
    assert not head._forward_hooks and not head._forward_pre_hooks
    assert not any(layer._forward_pre_hooks for layer in layers_of(model))


@pytest.mark.parametrize("model_type", PAIRS)
def test_bf16_is_close_and_leaves_the_weights_exact(model_type: str, batch: Batch) -> None:
    low = start_runtime(device="cpu", precision="bf16")
    model = tiny_pair(model_type, vocab_size=WORDS).eval()
    with torch.no_grad():
        for weight in (p for p in model.parameters() if p.ndim == 2):
            weight.div_(3)  # sharper attention than a trained one's would magnify the rounding
    before = {name: value.clone() for name, value in model.state_dict().items()}
    exact = forward(model, batch, WANTED)
    with working_precision(model, low) as weights, low.autocast():
        layers = layers_of(model)
        assert {p.dtype for p in layers.parameters()} == {torch.bfloat16}
        assert all(p.dtype == torch.float32 for p in weights.trained)
        found = forward(model, batch, WANTED)
        assert found.logits is not None
        found.logits.log_softmax(-1).square().mean().backward()
        weights.take_gradients()
        learnt = [weights.exact[p].grad for p in layers.parameters()]
        assert sum(g is not None and bool(g.abs().sum() > 0) for g in learnt) > len(learnt) / 2
    both = [(found.states[state], value) for state, value in exact.states.items()]
    for ours, theirs in (*both, (found.logits, exact.logits)):
        assert float((ours.float() - theirs).norm() / theirs.norm()) < 0.02
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
