"""The sliced form, the dense form with zeros and a masked teacher answer alike, in each family."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import small_config
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForTokenClassification,
    PreTrainedModel,
)
from zeroed import zero_pruned

from kdnas.distillation.batches import Batch, collate
from kdnas.distillation.forward import forward
from kdnas.distillation.outputs import OutputRequest, attention_states, hidden_states
from kdnas.errors import KdnasError
from kdnas.space.families import FAMILIES, family_of, is_at
from kdnas.students.pruning import CONFIG_KEY, Kept, dense, is_sliced, sliced
from kdnas.tasks import EncodedExamples, load_spec
from kdnas.teachers.load import load_teacher

PRUNABLE = sorted(set(FAMILIES) - {"albert"})
DISENTANGLED = {
    "relative_attention": True,
    "position_buckets": 8,
    "pos_att_type": ["p2c", "c2p"],
}
# Three layers: some of all, no heads, no neurons.
KEPT = Kept.of([[0, 2, 3], [], [1]], [range(8, 40), range(3, 64, 2), []])
NOTHING = Kept.of([[], [], []], [[], [], []])
ALL = Kept.of([range(4)] * 3, [range(64)] * 3)


@pytest.fixture(scope="module")
def batch() -> Batch:
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(3, 30, 9))]).astype(np.int64)
    ids = rng.integers(5, 150, offsets[-1]).astype(np.int32)
    return collate(EncodedExamples(ids, None, offsets, np.arange(9) % 2), np.arange(9), 0)


def model_of(make: Callable[..., Path], family: str, **changes: Any) -> PreTrainedModel:
    """A teacher none of whose biases are zero."""
    changes = {**(DISENTANGLED if family.startswith("deberta") else {}), **changes}
    model = load_teacher(str(make(family, **changes)), load_spec("sst2")).model
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and "norm" not in name.lower():
                parameter.normal_(std=0.5)
    return model


def masked_logits(model: PreTrainedModel, kept: Kept, batch: Batch) -> torch.Tensor:
    """The logits of a teacher in which what pruned heads and neurons give is multiplied by 0."""
    family = family_of(model.config.model_type, "")
    handles = []
    for path, module in model.named_modules():
        layer = family.layer_of(path)
        heads = is_at(path, family.heads_in)
        if layer is None or not (heads or is_at(path, family.neurons_out)):
            continue
        units, number = (kept.heads, 4) if heads else (kept.neurons, 64)
        mask = torch.zeros(number)
        mask[list(units[layer[1]])] = 1
        mask = mask.repeat_interleave(32 // 4) if heads else mask
        handles.append(module.register_forward_pre_hook(lambda _, a, m=mask: (a[0] * m,)))
    logits = model(**batch.inputs).logits
    for handle in handles:
        handle.remove()
    return logits


@pytest.mark.parametrize("kept", [KEPT, NOTHING], ids=["some", "nothing"])
@pytest.mark.parametrize("family", PRUNABLE)
@torch.no_grad()
def test_all_forms_answer_alike(
    family: str, kept: Kept, make_teacher: Callable[..., Path], batch: Batch
) -> None:
    model = model_of(make_teacher, family)
    expected = masked_logits(model, kept, batch)
    before = copy.deepcopy(model.state_dict())
    small = sliced(model, kept)
    assert is_sliced(small) and not is_sliced(model)
    torch.testing.assert_close(small(**batch.inputs).logits, expected, atol=1e-5, rtol=0)
    whole = dense(small)
    torch.testing.assert_close(whole(**batch.inputs).logits, expected, atol=1e-5, rtol=0)
    again = sliced(whole)
    assert again.state_dict().keys() == small.state_dict().keys()
    assert all(torch.equal(a, small.state_dict()[n]) for n, a in again.state_dict().items())
    zeroed = copy.deepcopy(model)
    zero_pruned(zeroed, kept)
    assert all(torch.equal(v, whole.state_dict()[n]) for n, v in zeroed.state_dict().items())
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())


@pytest.mark.parametrize("family", PRUNABLE)
@torch.no_grad()
def test_what_keeps_everything_is_the_teacher(
    family: str, make_teacher: Callable[..., Path], batch: Batch
) -> None:
    model = model_of(make_teacher, family)
    small = sliced(model, ALL)
    assert torch.equal(small(**batch.inputs).logits, model(**batch.inputs).logits)
    assert small.state_dict().keys() == model.state_dict().keys()


@pytest.mark.parametrize("family", PRUNABLE)
def test_training_passes_run_packed_and_reach_every_weight(
    family: str, make_teacher: Callable[..., Path], batch: Batch
) -> None:
    model = sliced(model_of(make_teacher, family), KEPT)
    with torch.no_grad():
        output = model(**batch.inputs, output_hidden_states=True)
    wanted = OutputRequest(hidden_states(range(4)), logits=True)
    said = forward(model, batch, wanted)
    assert said.logits is not None
    torch.testing.assert_close(said.logits, output.logits, atol=2e-5, rtol=1e-4)
    real = batch.inputs["attention_mask"].bool()
    for layer in range(4):
        expected = output.hidden_states[layer][real]
        torch.testing.assert_close(said.hidden(layer), expected, atol=2e-5, rtol=1e-4)
    (said.logits.square().sum() + said.hidden(3).sum()).backward()
    # A norm ahead of attention without heads has no effect, nor have fixed positions.
    untaught = [name for name, p in model.named_parameters() if p.grad is None]
    fixed = ("norm", ".ln.", "pooler", "embed_positions")
    assert all(any(word in name.lower() for word in fixed) for name in untaught), untaught


@pytest.mark.parametrize("auto", [AutoModelForTokenClassification, AutoModelForQuestionAnswering])
@torch.no_grad()
def test_heads_of_other_task_types_stay(auto: Any) -> None:
    torch.manual_seed(0)
    model = auto.from_config(small_config("bert")).eval()
    small, tokens = sliced(model, KEPT), torch.arange(5, 25).view(2, 10)
    zeroed = copy.deepcopy(model)
    zero_pruned(zeroed, KEPT)
    for whole in (zeroed, dense(small)):
        outputs = zip(small(tokens).to_tuple(), whole(tokens).to_tuple(), strict=True)
        for ours, theirs in outputs:
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_zeros_stay_zero_where_plain_transformers_trains_them() -> None:
    """The gradients of all that is pruned are zero, so weight decay finds zeros, too."""
    torch.manual_seed(0)
    whole = dense(sliced(AutoModelForTokenClassification.from_config(small_config("bert")), KEPT))
    optimiser, tokens = torch.optim.AdamW(whole.parameters(), lr=1e-2), torch.arange(5, 25)[None]
    for _ in range(3):
        whole(tokens, labels=tokens % 2).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    with torch.no_grad():
        again = sliced(whole.eval())  # refuses what is not zero
        torch.testing.assert_close(again(tokens).logits, whole(tokens).logits, atol=1e-5, rtol=0)


def test_states_of_heads_are_read_where_there_are_some(
    make_teacher: Callable[..., Path], batch: Batch
) -> None:
    small = sliced(model_of(make_teacher, "bert"), KEPT)
    with pytest.raises(KdnasError, match="query states of layer 2: of 3 layers, 2 have them"):
        forward(small, batch, OutputRequest(attention_states(2)))
    request = OutputRequest(attention_states(1, 3))
    with torch.no_grad():
        ours, whole = forward(small, batch, request), forward(dense(small), batch, request)
    for state, found in ours.states.items():
        heads = list(KEPT.heads[state.layer - 1])
        expected = whole.states[state].unflatten(-1, (4, 8))[:, heads].flatten(1)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_layers_without_heads_or_neurons_compute_neither(
    make_teacher: Callable[..., Path],
) -> None:
    small = sliced(model_of(make_teacher, "bert"), KEPT)
    names = [name for name, _ in small.bert.encoder.named_parameters()]
    assert not [n for n in names if n.startswith("layer.1.attention.self")]
    assert "layer.1.attention.output.dense.bias" in names
    assert "layer.1.attention.output.dense.weight" not in names
    assert not [n for n in names if n.startswith("layer.2.intermediate")]
    assert small.bert.encoder.layer[0].attention.self.query.weight.shape == (24, 32)
    assert small.bert.encoder.layer[0].intermediate.dense.weight.shape == (32, 32)


def test_layers_that_share_weights_are_refused(make_teacher: Callable[..., Path]) -> None:
    with pytest.raises(KdnasError, match="'albert' share their weights"):
        sliced(model_of(make_teacher, "albert"), ALL)


def test_heads_that_share_keys_and_values_are_refused(make_teacher: Callable[..., Path]) -> None:
    model = model_of(make_teacher, "eurobert")
    model.config.num_key_value_heads = 2
    with pytest.raises(KdnasError, match="4 heads share 2 keys and values"):
        sliced(model, ALL)


@pytest.mark.parametrize(
    ("kept", "match"),
    [
        (Kept.of([[0]], [[0]]), "does not fit the teacher"),
        (Kept.of([range(5)] * 3, [range(64)] * 3), "does not fit the teacher"),
        (Kept.of([[4]] * 3, [range(64)] * 3), "does not fit the teacher"),
    ],
)
def test_what_the_teacher_lacks_cannot_be_kept(
    kept: Kept, match: str, make_teacher: Callable[..., Path]
) -> None:
    with pytest.raises(KdnasError, match=match):
        sliced(model_of(make_teacher, "bert"), kept)


def test_a_config_that_is_not_of_its_weights_is_refused(
    make_teacher: Callable[..., Path],
) -> None:
    model = model_of(make_teacher, "bert")
    KEPT.write(model.config)
    with pytest.raises(KdnasError, match=f"is not zero where the config's {CONFIG_KEY}"):
        sliced(model)
    setattr(model.config, CONFIG_KEY, {"heads": ["0-9"] * 3, "neurons": ["0"] * 3})
    with pytest.raises(KdnasError, match="does not fit its model"):
        sliced(model)
    setattr(model.config, CONFIG_KEY, {"heads": ["x"] * 3, "neurons": ["0"] * 3})
    with pytest.raises(KdnasError, match="'x' is no run of numbers"):
        sliced(model)
    delattr(model.config, CONFIG_KEY)
    assert sliced(model) is model
