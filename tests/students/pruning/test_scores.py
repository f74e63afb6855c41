"""Which heads and neurons go first."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig
from zeroed import zero_pruned

from kdnas.distillation.batches import Batch, collate
from kdnas.errors import KdnasError
from kdnas.runtime.device import Runtime
from kdnas.space import Architecture, PrunedArchitecture
from kdnas.space.families import FAMILIES, family_of
from kdnas.students.pruning import (
    Kept,
    Scores,
    gradient_scores,
    magnitude_scores,
    random_scores,
    shape_of,
    sliced,
)
from kdnas.students.pruning.kept import numbers, prunable_family, runs
from kdnas.students.pruning.scores import normalised, rounded_neurons, unit_maps
from kdnas.tasks import EncodedExamples, load_spec
from kdnas.teachers.load import load_teacher

PRUNABLE = sorted(set(FAMILIES) - {"albert"})


@pytest.fixture(scope="module")
def data() -> EncodedExamples:
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(3, 30, 12))]).astype(np.int64)
    ids = rng.integers(5, 150, offsets[-1]).astype(np.int32)
    return EncodedExamples(ids, None, offsets, np.arange(12) % 2)


@pytest.fixture(scope="module")
def batches(data: EncodedExamples) -> list[Batch]:
    return [collate(data, indices, 0) for indices in np.split(np.arange(12), 2)]


def test_golden_heads() -> None:
    """MiniDisc's: each layer over its norm, then the lowest of all."""
    heads = normalised(torch.tensor([[3.0, 4.0], [0.0, 5.0]]))
    torch.testing.assert_close(heads, torch.tensor([[0.6, 0.8], [0.0, 1.0]]))
    teacher = Architecture(2, 2, 32, 16, "gelu")
    scores = Scores(heads, torch.ones(2, 16))
    counts = scores.at_sparsity(0.5, teacher)
    assert scores.kept(counts).heads == ((1,), (1,))
    assert scores.kept(scores.at_sparsity(0.75, teacher)).heads == ((), (1,))
    assert counts.intermediate_size == (0, 16)


def test_a_layer_of_zeros_stays_zero() -> None:
    assert not normalised(torch.zeros(2, 3)).any()


@pytest.mark.parametrize(
    ("count", "rounded"), [(0, 0), (3, 0), (4, 8), (11, 8), (12, 16), (59, 56), (60, 60)]
)
def test_neurons_are_multiples_of_eight(count: int, rounded: int) -> None:
    assert rounded_neurons(count, 60) == rounded


@pytest.mark.parametrize("size", [1, 3, 33, 35, 60])
def test_sparsity_0_is_the_whole_teacher_whatever_its_neurons(size: int) -> None:
    teacher, scores = Architecture(2, 2, 32, size, "gelu"), Scores(torch.ones(2, 2), _counted(size))
    assert scores.at_sparsity(0, teacher) == PrunedArchitecture.whole(teacher)


def _counted(size: int) -> torch.Tensor:
    return torch.arange(2.0 * size).view(2, size)


@pytest.mark.parametrize("sparsity", [1.0, 1.5, -0.1, float("nan")])
def test_nothing_left_is_refused(sparsity: float) -> None:
    scores = Scores(torch.ones(2, 2), torch.ones(2, 16))
    with pytest.raises(KdnasError, match="invalid sparsity"):
        scores.at_sparsity(sparsity, Architecture(2, 2, 32, 16, "gelu"))


def test_sparsity_0_keeps_all() -> None:
    teacher = Architecture(2, 2, 32, 20, "gelu")
    scores = Scores(torch.rand(2, 2), torch.rand(2, 20))
    assert scores.at_sparsity(0, teacher) == PrunedArchitecture.whole(teacher)
    assert scores.kept(PrunedArchitecture.whole(teacher)) == Kept.of(
        [range(2)] * 2, [range(20)] * 2
    )


def test_the_best_head_stays() -> None:
    teacher = Architecture(2, 2, 32, 16, "gelu")
    scores = Scores(torch.tensor([[1.0, 2.0], [4.0, 3.0]]), torch.ones(2, 16))
    counts = scores.at_sparsity(0.95, teacher)
    assert counts.num_attention_heads == (0, 1) and scores.kept(counts).heads == ((), (0,))


def loss_with(
    model: torch.nn.Module, path: str, factor: torch.Tensor, batch: Batch
) -> torch.Tensor:
    """The plain model's loss on a batch with factors on what a map reads."""
    module = model.get_submodule(path)
    hook = module.register_forward_pre_hook(lambda _, args: (args[0] * factor,))
    with torch.no_grad():
        logits = model(**batch.inputs).logits
    hook.remove()
    return torch.nn.functional.cross_entropy(logits, batch.labels)


@pytest.mark.parametrize("family", PRUNABLE)
def test_gradients_are_those_of_factors_behind_heads_and_neurons(
    family: str, make_teacher: Callable[..., Path], batches: list[Batch], runtime: Runtime
) -> None:
    """Ratios within a layer are those of finite differences of the plain model's loss."""
    model = load_teacher(str(make_teacher(family)), load_spec("sst2")).model
    found = gradient_scores(model, batches, runtime)
    assert found.heads.shape == (3, 4) and found.neurons.shape == (3, 64)
    assert not any(module._forward_pre_hooks for module in model.modules())
    model.double()
    layer, step = 1, 1e-2  # some families compute parts in fp32 whatever they are given
    for path, (number, kind) in unit_maps(model).items():
        if number != layer:
            continue
        count, size = (4, 8) if kind == "heads" else (64, 1)
        steps = torch.eye(count, dtype=torch.double).repeat_interleave(size, 1)[:4] * step
        expected = torch.zeros(4, dtype=torch.double)
        for batch in batches:
            for unit, change in enumerate(steps):
                both = (loss_with(model, path, 1 + s * change, batch) for s in (1, -1))
                expected[unit] += (next(both) - next(both)).abs() / (2 * step)
        ours = getattr(found, kind)[layer, :4].double()
        torch.testing.assert_close(
            ours / ours.norm(), expected / expected.norm(), rtol=2e-3, atol=5e-3
        )


@pytest.mark.parametrize("score", [gradient_scores, magnitude_scores])
@pytest.mark.parametrize("family", PRUNABLE)
def test_dead_heads_and_neurons_go_first_and_cost_nothing(
    family: str,
    score: Callable[..., Scores],
    make_teacher: Callable[..., Path],
    batches: list[Batch],
    runtime: Runtime,
) -> None:
    model = load_teacher(str(make_teacher(family)), load_spec("sst2")).model
    dead = Kept.of([[0, 1, 3], [1, 2, 3], [0, 1, 2, 3]], [range(64), range(8, 64), range(0, 40)])
    killed = copy.deepcopy(model)
    zero_pruned(killed, dead)
    del killed.config.kdnas_pruned
    scores = score(killed, batches, runtime)
    counts = PrunedArchitecture((3, 3, 4), 32, (64, 56, 40), killed_act(killed, family))
    assert scores.kept(counts) == dead
    with torch.no_grad():
        small = sliced(killed, scores.kept(counts))
        inputs = batches[0].inputs
        torch.testing.assert_close(
            small(**inputs).logits, killed(**inputs).logits, atol=1e-5, rtol=0
        )


def killed_act(model: torch.nn.Module, family: str) -> str:
    return str(getattr(model.config, family_of(family, "").field_name("hidden_act")))


def test_magnitudes_golden(make_teacher: Callable[..., Path]) -> None:
    model = load_teacher(str(make_teacher()), load_spec("sst2")).model
    layer = model.bert.encoder.layer[1]
    own = layer.attention.self
    norms = []
    for head in range(4):
        rows = slice(8 * head, 8 * head + 8)
        each = [m.weight[rows] for m in (own.query, own.key, own.value)]
        each += [m.bias[rows] for m in (own.query, own.key, own.value)]
        each.append(layer.attention.output.dense.weight[:, rows])
        norms.append(torch.cat([part.flatten() for part in each]).norm())
    expected = torch.stack(norms) / torch.stack(norms).norm()
    torch.testing.assert_close(magnitude_scores(model).heads[1], expected)


def test_random_numbers_follow_the_seed(make_teacher: Callable[..., Path]) -> None:
    model = load_teacher(str(make_teacher()), load_spec("sst2")).model
    first, again, other = (random_scores(model, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.heads, again.heads) and not torch.equal(first.heads, other.heads)


def test_at_random_what_is_dead_already_goes_first(make_teacher: Callable[..., Path]) -> None:
    model = load_teacher(str(make_teacher()), load_spec("sst2")).model
    kept = Kept.of([[0, 2], [], [1, 2, 3]], [range(8, 24), [], range(40)])
    before = random_scores(model, seed=5)
    zero_pruned(model, kept)
    scores = random_scores(model, seed=5)
    assert scores.kept(kept.architecture(shape_of(model.config))) == kept
    assert torch.equal(scores.heads[0, [0, 2]], before.heads[0, [0, 2]])
    assert not scores.heads[0, [1, 3]].any() and not scores.neurons[1].any()


def test_rows_without_labels_are_refused(
    make_teacher: Callable[..., Path], data: EncodedExamples, runtime: Runtime
) -> None:
    model = load_teacher(str(make_teacher()), load_spec("sst2")).model
    bare = EncodedExamples(data.input_ids, None, data.offsets)
    with pytest.raises(KdnasError, match="needs labels"):
        gradient_scores(model, [collate(bare, np.arange(4), 0)], runtime)
    with pytest.raises(KdnasError, match="needs rows"):
        gradient_scores(model, [], runtime)


def test_scores_survive_the_way_through_a_file(tmp_path: Path) -> None:
    scores = Scores(torch.rand(2, 4), torch.rand(2, 8))
    scores.save(tmp_path / "scores")
    again = Scores.load(tmp_path / "scores")
    assert torch.equal(again.heads, scores.heads) and torch.equal(again.neurons, scores.neurons)


def test_runs_of_numbers() -> None:
    for values, text in [([], ""), ([0, 1, 2, 5], "0-2 5"), ([7], "7"), ([1, 3, 4], "1 3-4")]:
        assert runs(values) == text
        assert numbers(text) == values
    for text in ("x", "1-", "1,2"):
        with pytest.raises(ValueError, match="no run"):
            numbers(text)


def test_decoders_are_refused() -> None:
    for kind in ("t5", "bart"):
        with pytest.raises(KdnasError, match=f"'{kind}' has a decoder, and only encoders"):
            prunable_family(AutoConfig.for_model(kind))
