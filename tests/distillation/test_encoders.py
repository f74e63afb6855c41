"""Packed, padded, rounded, cut: a model says and learns the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.ragged import PAD, model_of, ragged_data
from transformers import PreTrainedModel

from kdnas.distillation.batches import Batch, batches_once, collate
from kdnas.distillation.embedding_rows import word_embeddings
from kdnas.distillation.forward import forward
from kdnas.distillation.modules import encoder_of
from kdnas.distillation.outputs import OutputRequest, hidden_states
from kdnas.distillation.precision import working_precision
from kdnas.distillation.signals import LiveSignal
from kdnas.runtime.device import Runtime, start_runtime
from kdnas.space.families import FAMILIES
from kdnas.tasks import EncodedExamples


@pytest.fixture(scope="module")
def data() -> EncodedExamples:
    return ragged_data()


@pytest.fixture
def batch(data: EncodedExamples) -> Batch:
    return collate(data, np.arange(9), PAD)


def usual(model: PreTrainedModel, batch: Batch) -> tuple[list[torch.Tensor], torch.Tensor]:
    """What plain transformers says of the padded batch: real tokens' states, and logits."""
    output = model(**batch.inputs, output_hidden_states=True)
    mask = batch.inputs["attention_mask"].bool()
    return [layer[mask] for layer in output.hidden_states], output.logits


def everything(hidden: list[torch.Tensor]) -> OutputRequest:
    return OutputRequest(hidden_states(range(len(hidden))), logits=True)


def gradients(model: PreTrainedModel, hidden: list[torch.Tensor], logits: torch.Tensor) -> dict:
    loss = logits.square().sum() + sum((i + 1) * h.square().sum() for i, h in enumerate(hidden))
    model.zero_grad()
    loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_says_and_learns_what_plain_transformers_does(
    family: str, make_teacher: Callable[..., Path], batch: Batch
) -> None:
    model = model_of(make_teacher(family))
    hidden, logits = usual(model, batch)
    expected = gradients(model, hidden, logits)
    said = forward(model, batch, everything(hidden))
    assert said.logits is not None
    states = [said.hidden(layer) for layer in range(len(hidden))]
    for ours, theirs in zip(states, hidden, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(said.logits, logits, atol=2e-5, rtol=1e-4)
    found = gradients(model, states, said.logits)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        atol = 1e-4 * float(gradient.abs().max()) + 2e-3
        torch.testing.assert_close(found[name], gradient, atol=atol, rtol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_says_the_same_of_batches_that_are_not_trained_on(
    family: str, make_teacher: Callable[..., Path], data: EncodedExamples
) -> None:
    model = model_of(make_teacher(family))
    for rows in (data, data.take(np.array([4]))):
        [batch] = batches_once(rows, PAD, torch.device("cpu"))
        hidden, logits = usual(model, batch)
        said = forward(model, batch, everything(hidden))
        for layer, theirs in enumerate(hidden):
            torch.testing.assert_close(said.hidden(layer), theirs, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(said.logits, logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("modernbert", {"classifier_pooling": "mean"}),
        ("eurobert", {"classifier_pooling": "mean"}),
        ("ultrabert", {"classifier_pooling": "mean"}),
        ("gte", {"type_vocab_size": 0}),
    ],
)
def test_other_heads_and_embeddings_say_the_same(
    family: str, changes: dict[str, Any], make_teacher: Callable[..., Path], batch: Batch
) -> None:
    model = model_of(make_teacher(family, **changes))
    said = forward(model, batch, OutputRequest(logits=True))
    torch.testing.assert_close(said.logits, usual(model, batch)[1], atol=2e-5, rtol=1e-4)


def test_the_model_is_left_as_it_was(teacher_folder: Path, batch: Batch) -> None:
    model = model_of(teacher_folder)
    before = model.config._attn_implementation
    forward(model, batch, OutputRequest(logits=True))
    assert model.config._attn_implementation == before
    for module in encoder_of(model):
        assert not module._forward_hooks and not module._forward_pre_hooks


@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_a_sample_of_tokens_is_said_and_learnt_alone(
    family: str, make_teacher: Callable[..., Path], batch: Batch
) -> None:
    model = model_of(make_teacher(family))
    wanted = OutputRequest(hidden_states(range(4)))
    whole = list(forward(model, batch, wanted).states.values())
    expected = gradients(model, [layer[1::2] for layer in whole], torch.zeros(1))
    odd = replace(batch, sample=slice(1, None, 2))
    sample = list(forward(model, odd, wanted).states.values())
    for ours, theirs in zip(sample, whole, strict=True):
        torch.testing.assert_close(ours, theirs[1::2])
    found = gradients(model, sample, torch.zeros(1))
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_bf16_is_close_and_leaves_the_weights_exact(
    family: str, make_teacher: Callable[..., Path], batch: Batch
) -> None:
    low: Runtime = start_runtime(device="cpu", precision="bf16")
    model = model_of(make_teacher(family))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    hidden, logits = usual(model, batch)
    with working_precision(model, low) as weights, low.autocast():
        assert next(encoder_of(model).parameters()).dtype == torch.bfloat16
        assert all(p.dtype == torch.float32 for p in weights.trained)
        said = forward(model, batch, everything(hidden))
        said.logits.square().sum().backward()
        weights.take_gradients()
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in weights.trained)
        saved = weights.state_dict()
        assert all(torch.equal(saved[f"model.{name}"], value) for name, value in before.items())
    torch.testing.assert_close(said.hidden(len(hidden) - 1).float(), hidden[-1], atol=0.1, rtol=0.1)
    torch.testing.assert_close(said.logits, logits, atol=0.05, rtol=0.1)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("family", ["bert", "deberta"])
def test_a_live_teacher_says_in_bf16_what_its_store_would(
    family: str, make_teacher: Callable[..., Path], batch: Batch
) -> None:
    low: Runtime = start_runtime(device="cpu", precision="bf16")
    model = model_of(make_teacher(family))
    wanted = OutputRequest(hidden_states(range(4)), logits=True)
    with torch.no_grad(), working_precision(model, low), low.autocast():
        stored = forward(model, batch, wanted)
    said = LiveSignal(model, low).fetch(batch, wanted)
    assert said.logits is not None and stored.logits is not None
    assert torch.equal(said.logits, stored.logits)
    assert all(torch.equal(said.states[state], stored.states[state]) for state in stored.states)
    assert next(model.parameters()).dtype == torch.float32


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_cut_vocabulary_trains_the_rows_that_occur(
    family: str, make_teacher: Callable[..., Path], data: EncodedExamples, batch: Batch
) -> None:
    model = model_of(make_teacher(family))
    table = model.get_input_embeddings().weight
    before = table.detach().clone()
    expected = forward(model, batch, OutputRequest(logits=True)).logits
    with word_embeddings(model, data, PAD):
        small = model.get_input_embeddings().weight
        assert len(small) == len(np.union1d(data.input_ids, [PAD])) < len(before)
        said = forward(model, batch, OutputRequest(logits=True)).logits
        torch.testing.assert_close(said, expected)
        with torch.no_grad():
            small.add_(1)
    assert model.get_input_embeddings().weight is table
    used = torch.from_numpy(np.union1d(data.input_ids, [PAD]).astype(np.int64))
    assert torch.equal(table[used], before[used] + 1)
    rest = torch.ones(len(table), dtype=torch.bool)
    rest[used] = False
    assert torch.equal(table[rest], before[rest])
