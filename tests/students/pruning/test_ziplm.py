"""ZipLM and the other methods on teachers of every family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from kdnas.distillation.batches import Batch, collate
from kdnas.errors import KdnasError
from kdnas.runtime.device import Runtime
from kdnas.space import PrunedArchitecture
from kdnas.space.families import FAMILIES
from kdnas.students.pruning import Kept, is_sliced, sliced
from kdnas.students.pruning.kept import shape_of
from kdnas.students.pruning.methods import PRUNING_METHODS
from kdnas.students.pruning.ziplm import surgery_order
from kdnas.tasks import EncodedExamples, load_spec
from kdnas.teachers.load import load_teacher

PRUNABLE = sorted(set(FAMILIES) - {"albert"})


@pytest.fixture(scope="module")
def data() -> EncodedExamples:
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(3, 30, 24))]).astype(np.int64)
    ids = rng.integers(5, 150, offsets[-1]).astype(np.int32)
    return EncodedExamples(ids, None, offsets, np.arange(24) % 2)


@pytest.fixture(scope="module")
def batches(data: EncodedExamples) -> list[Batch]:
    return [collate(data, indices, 0) for indices in np.split(np.arange(24), 3)]


def counts_of(model: torch.nn.Module, heads: tuple, neurons: tuple) -> PrunedArchitecture:
    return PrunedArchitecture.of(shape_of(model.config), heads, neurons)


@pytest.mark.parametrize("family", PRUNABLE)
@torch.no_grad()
def test_what_is_left_makes_up_for_what_is_gone(
    family: str, make_teacher: Callable[..., Path], batches: list[Batch], runtime: Runtime
) -> None:
    """The corrected student is nearer to the teacher than one whose weights stay as they were."""
    model = load_teacher(str(make_teacher(family)), load_spec("sst2")).model
    expected = [model(**batch.inputs).logits for batch in batches]
    order = surgery_order(model, batches, runtime)
    whole = order.student(PrunedArchitecture.whole(shape_of(model.config)))
    torch.testing.assert_close(whole(**batches[0].inputs).logits, expected[0])
    damage = order.damage()
    assert damage.heads.shape == (3, 5) and damage.neurons.shape == (3, 65)
    for part in (damage.heads, damage.neurons):
        assert (part[:, 0] == 1).all() and (part[:, -1] == 0).all()
        assert (part.diff(dim=1) <= 1e-9).all()
    whole = shape_of(model.config)
    assert order.at_sparsity(0) == PrunedArchitecture.whole(whole)
    assert sum(order.at_sparsity(0.99).num_attention_heads) >= 1
    counts = counts_of(model, (2, 0, 3), (24, 64, 0))
    student = order.student(counts)
    assert is_sliced(student) and Kept.read(student.config) == order.kept(counts)
    plain = sliced(model, order.kept(counts))

    def error(candidate: torch.nn.Module) -> float:
        found = (candidate.base_model(**b.inputs).last_hidden_state for b in batches)
        theirs = (model.base_model(**b.inputs).last_hidden_state for b in batches)
        masks = (b.inputs["attention_mask"].bool() for b in batches)
        return sum(
            float((a - b)[m].square().sum()) for a, b, m in zip(found, theirs, masks, strict=True)
        )

    assert error(student) < error(plain)


@torch.no_grad()
def test_doubles_go_first_and_cost_next_to_nothing(
    make_teacher: Callable[..., Path], batches: list[Batch], runtime: Runtime
) -> None:
    model = load_teacher(str(make_teacher()), load_spec("sst2")).model
    for layer in model.bert.encoder.layer:
        neurons, heads = layer.intermediate.dense, layer.attention.self
        for module in (neurons, heads.value):  # so that none is of as little use as a double
            module.weight *= 20
        neurons.weight[7], neurons.bias[7] = neurons.weight[3], neurons.bias[3]
        for module in (heads.query, heads.key, heads.value):
            module.weight[8:16], module.bias[8:16] = module.weight[24:], module.bias[24:]
    order = surgery_order(model, batches, runtime)
    for (_, kind), block in order.blocks.items():
        assert kind == "neurons" or int(block.removal.order[0]) in (1, 3)
        assert block.removal.costs[0] < 0.02 * block.removal.costs.sum()  # damping
    student = order.student(counts_of(model, (3, 3, 3), (63, 63, 63)))
    for batch in batches:
        expected = model(**batch.inputs).logits
        torch.testing.assert_close(student(**batch.inputs).logits, expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize("method", sorted(PRUNING_METHODS))
def test_every_method_gives_damages_and_students(
    method: str, make_teacher: Callable[..., Path], batches: list[Batch], runtime: Runtime
) -> None:
    model = load_teacher(str(make_teacher()), load_spec("sst2")).model
    order = PRUNING_METHODS[method](model, batches, runtime, seed=1)
    damage = order.damage()
    assert damage.heads.shape == (3, 5) and damage.neurons.shape == (3, 65)
    for part in (damage.heads, damage.neurons):
        assert float((part[:, 0] - 1).abs().max()) < 1e-5 and not part[:, -1].any()
        assert (part.diff(dim=1) <= 1e-6).all()
    counts = counts_of(model, (2, 0, 3), (24, 64, 0))
    student = order.student(counts)
    kept = Kept.read(student.config)
    assert kept and kept.architecture(shape_of(model.config)) == counts
    assert Kept.read(model.config) is None and not is_sliced(model)
    with pytest.raises(KdnasError, match="does not fit the teacher"):
        order.student(counts_of(model, (5, 0, 3), (24, 64, 0)))


@pytest.mark.parametrize("method", sorted(PRUNING_METHODS))
def test_layers_that_share_weights_are_refused(
    method: str, make_teacher: Callable[..., Path], batches: list[Batch], runtime: Runtime
) -> None:
    model = load_teacher(str(make_teacher("albert")), load_spec("sst2")).model
    with pytest.raises(KdnasError, match="share their weights"):
        PRUNING_METHODS[method](model, batches, runtime, seed=1)


def test_no_rows_are_refused(make_teacher: Callable[..., Path], runtime: Runtime) -> None:
    model = load_teacher(str(make_teacher()), load_spec("sst2")).model
    with pytest.raises(KdnasError, match="ZipLM needs rows"):
        surgery_order(model, [], runtime)
