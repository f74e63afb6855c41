"""The mapping `learned`: weights of all teacher layers, balanced, with a comparable loss."""

from __future__ import annotations

import pytest
import torch

from kdnas.distillation.losses import Shapes, TeacherStatistics
from kdnas.distillation.losses.hidden import HiddenLoss, HiddenOptions
from kdnas.distillation.losses.layer_weights import LayerWeights
from kdnas.distillation.outputs import ModelOutputs, State, hidden_states
from kdnas.space import Architecture

TEACHER = Architecture(6, 2, 8, 8, "gelu")
SHAPES = Shapes(TEACHER, Architecture(3, 2, 4, 8, "gelu"))
TOKENS = 400


def signal_of(seed: int = 0) -> ModelOutputs:
    """Six layers, each the one before and some noise."""
    generator = torch.Generator().manual_seed(seed)
    states, value = {}, torch.zeros(TOKENS, 8)
    for layer in range(1, 7):
        value = value + torch.randn(TOKENS, 8, generator=generator)
        states[State("hidden", layer)] = value
    return ModelOutputs(states)


def loss_of(signal: ModelOutputs, normalisation: str = "layer") -> HiddenLoss:
    layers = [torch.zeros(TOKENS, 8), *(signal.hidden(i) for i in range(1, 7))]
    mean = torch.stack([layer.mean(0) for layer in layers])
    variance = torch.stack([layer.var(0, correction=0) for layer in layers])
    options = HiddenOptions(mapping="learned", normalisation=normalisation)
    loss = HiddenLoss(SHAPES, options, TeacherStatistics(mean, variance))
    assert loss.weights is not None
    loss.weights.measure([loss.standardised(signal)])
    return loss


@pytest.mark.parametrize(("student", "teacher"), [(3, 6), (1, 12), (4, 12), (6, 6), (5, 7)])
def test_every_teacher_layer_counts_equally(student: int, teacher: int) -> None:
    weights = LayerWeights(student, teacher)
    with torch.no_grad():
        weights.affinity.add_(torch.randn(student, teacher))
    found = weights()
    assert found.sum(1).tolist() == pytest.approx([1] * student)
    assert found.sum(0).tolist() == pytest.approx([student / teacher] * teacher, rel=0.05)


def test_weights_start_around_equal_parts_of_the_teacher() -> None:
    for parts in (2, 3):
        for i, row in enumerate(LayerWeights(3, 3 * parts)()):
            own = row[parts * i : parts * (i + 1)]
            assert own.sum() > 0.6 and own.min() > (row.sum() - own.sum()) / parts
    assert LayerWeights(1, 4)()[0].tolist() == pytest.approx([0.25] * 4)


def test_a_layer_that_all_prefer_is_shared_not_chosen() -> None:
    """What a softmax alone would collapse to."""
    weights = LayerWeights(3, 6)
    with torch.no_grad():
        weights.affinity[:, 0] += 50
    assert weights()[:, 0].sum().item() == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("normalisation", ["layer", "dimension"])
def test_predicting_the_mean_costs_1_whatever_is_weighed(normalisation: str) -> None:
    signal = signal_of()
    loss = loss_of(signal, normalisation)
    for _ in range(3):
        for _, target in loss.pairs(signal):
            assert target.square().sum(1).mean().item() == pytest.approx(1, rel=1e-3)
            assert target.mean(0).abs().max().item() < 1e-4
        with torch.no_grad():
            loss.weights.affinity.add_(torch.randn(3, 6))


def test_weights_and_projections_learn() -> None:
    signal = signal_of()
    loss = loss_of(signal)
    assert loss.of_teacher.states == hidden_states(range(1, 7))
    students = {State("hidden", i): signal.hidden(2 * i)[:, :4] for i in (1, 2, 3)}
    optimizer, values = torch.optim.Adam(loss.parameters(), lr=0.02), []
    before = loss.weights().detach().clone()
    for _ in range(60):
        value = loss.loss(ModelOutputs(students), None, signal)  # type: ignore[arg-type]
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < values[0] and loss.weights.affinity.grad.any()
    assert not torch.allclose(before, loss.weights())


def test_a_later_stage_goes_on_with_the_weights() -> None:
    loss = loss_of(signal_of())
    again = HiddenLoss(SHAPES, loss.options, loss.statistics)
    assert again.continues(loss.state_dict())
    fixed = HiddenLoss(SHAPES, HiddenOptions(), loss.statistics)
    assert not fixed.continues(loss.state_dict()) and not again.continues(fixed.state_dict())
