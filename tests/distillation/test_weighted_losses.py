from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from kdnas.distillation.batches import Batch
from kdnas.distillation.layer_map import LayerMap
from kdnas.distillation.losses import LOSSES, Shapes, TeacherStatistics
from kdnas.distillation.losses.base import WeightedLosses
from kdnas.distillation.losses.hidden import EmbeddingsLoss, HiddenLoss, HiddenOptions
from kdnas.distillation.losses.logits import TaskLoss
from kdnas.distillation.losses.relations import RelationsLoss, RelationsOptions
from kdnas.distillation.outputs import ModelOutputs, State, attention_states
from kdnas.distillation.packing import Packing
from kdnas.space import Architecture
from kdnas.tasks import TASK_TYPES
from kdnas.tasks.encode import Units
from kdnas.tasks.examples import DEFAULT_TYPE

TWO = Architecture(2, 1, 2, 4, "gelu")
SHAPES = Shapes(TWO, TWO)
PAIR = Architecture(2, 1, 2, 4, "gelu", num_decoder_layers=2)
PAIRS = Shapes(PAIR, PAIR)
VARIANCE = torch.tensor([[1.0, 1.0], [1.0, 3.0], [2.0, 2.0]])
STATISTICS = TeacherStatistics(torch.zeros(3, 2), VARIANCE, decoder=(torch.zeros(3, 2), VARIANCE))


def hidden_loss(**options: Any) -> HiddenLoss:
    return HiddenLoss(SHAPES, HiddenOptions(**options), STATISTICS)


def batch_of(mask: list[list[int]]) -> Batch:
    ids = torch.ones(len(mask), len(mask[0]), dtype=torch.long)
    inputs = {"input_ids": ids, "attention_mask": torch.tensor(mask)}
    units = Units(torch.arange(len(mask)))
    packing = Packing.of(np.array(mask, dtype=bool))
    return Batch(np.arange(len(mask)), inputs, None, TASK_TYPES[DEFAULT_TYPE], units, packing)


def test_golden_hidden_loss() -> None:
    """Projections of zero leave the targets themselves: hand-computed shares of variance."""
    term = hidden_loss()
    for projection in term.projections:
        torch.nn.init.zeros_(projection.weight)
        torch.nn.init.zeros_(projection.bias)
    batch = batch_of([[1, 1]])
    states = {State("hidden", i): torch.zeros(2, 2) for i in (1, 2)}
    first, second = torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 2.0], [2.0, 0.0]])
    signal = {State("hidden", 1): first, State("hidden", 2): second}
    loss = term.loss(ModelOutputs(states), batch, ModelOutputs(signal))
    # Layer 1: (4 / 4 + 0) / 2 tokens, twice the same layer; layer 2: (4 / 4 + 4 / 4) / 2 tokens.
    assert loss.item() == pytest.approx((0.5 + 1.0) / 2)


def test_one_projection_a_layer_or_one_for_all() -> None:
    assert len(hidden_loss().projections) == 2
    shared = hidden_loss(shared_projection=True)
    assert len(shared.projections) == 1
    assert shared.projection(0) is shared.projection(1)
    assert tuple(shared.projections[0].weight.shape) == (4, 2)


def test_a_layer_named_twice_is_predicted_once() -> None:
    term = hidden_loss()
    assert [tuple(p.weight.shape) for p in term.projections] == [(2, 2), (2, 2)]

    class Mixed(HiddenLoss):
        @classmethod
        def map_layers(cls, shapes: Shapes, options: Any) -> LayerMap:
            return LayerMap(((1, 2), (2, 2)))

    mixed = Mixed(SHAPES, statistics=STATISTICS)
    assert [tuple(p.weight.shape) for p in mixed.projections] == [(4, 2), (2, 2)]


def test_golden_embedding_loss() -> None:
    """The same loss over the embeddings alone: a student that says the mean leaves everything."""
    variance = torch.tensor([[1.0, 3.0], [9.0, 9.0], [9.0, 9.0]])
    term = EmbeddingsLoss(SHAPES, statistics=TeacherStatistics(torch.zeros(3, 2), variance))
    with torch.no_grad():
        term.projections[0].weight.copy_(torch.eye(2))
        term.projections[0].bias.zero_()
    assert term.of_student.states == term.of_teacher.states == {State("hidden", 0)}
    said = ModelOutputs({State("hidden", 0): torch.tensor([[0.5, 0.0]])})
    signal = ModelOutputs({State("hidden", 0): torch.tensor([[2.0, 0.0]])})
    # Targets are scaled by 1 / sqrt(1 + 3): 1 against 0.5.
    assert term.loss(said, batch_of([[1]]), signal).item() == pytest.approx(0.25)


def test_relations_of_any_number_of_heads_ignore_padding() -> None:
    """A student whose queries, keys and values are the teacher's in other heads' order of size."""
    generator = torch.Generator().manual_seed(0)
    batch = batch_of([[1, 1, 1], [1, 1, 0]])
    theirs = {s: torch.randn(5, 12, generator=generator) for s in attention_states(6)}
    ours = {State(s.kind, 2): v for s, v in theirs.items()}
    for heads in (1, 2, 3, 4, 6, 12):
        shapes = Shapes(Architecture(6, 12, 12, 4, "gelu"), Architecture(2, 12, 12, 4, "gelu"))
        term = RelationsLoss(shapes, RelationsOptions(relation_heads=heads))
        assert term.of_teacher.states == set(theirs) and term.of_student.states == set(ours)
        assert term.loss(ModelOutputs(ours), batch, ModelOutputs(theirs)).item() == pytest.approx(
            0, abs=1e-6
        )
    changed = {s: v.clone() for s, v in ours.items()}
    changed[State("query", 2)][0] += 3
    assert term.loss(ModelOutputs(changed), batch, ModelOutputs(theirs)).item() > 0.01


def test_a_ragged_map_gives_projections_of_their_own_width() -> None:
    loss = hidden_loss(mapping={2: [[1, 2], 2]})
    assert [tuple(p.weight.shape) for p in loss.projections] == [(4, 2), (2, 2)]
    assert loss.continues(hidden_loss(mapping="1+2,2").state_dict())
    assert not loss.continues(hidden_loss(mapping="1+2,1").state_dict())


def test_relations_of_minilm_are_attention_and_values() -> None:
    """One head of size 1, two tokens: only the keys of the student differ."""
    shape, batch = Architecture(2, 1, 1, 4, "gelu"), batch_of([[1, 1]])
    options = RelationsOptions(relations="attention+values", relation_student_layer=1)
    term = RelationsLoss(Shapes(shape, shape), options)
    assert term.of_student.states == attention_states(1)
    states = {"query": [1.0, 1.0], "key": [1.0, 0.0], "value": [3.0, 1.0]}
    theirs = {State(kind, 2): torch.tensor(v)[:, None] for kind, v in states.items()}
    ours = {State(state.kind, 1): value for state, value in theirs.items()}
    same = term.loss(ModelOutputs(ours), batch, ModelOutputs(theirs))
    assert same.item() == pytest.approx(0, abs=1e-7)
    ours[State("key", 1)] = torch.zeros(2, 1)
    p = 1 / (1 + math.exp(-1))  # of either query: softmax of 1 and 0, against one half each
    expected = p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p))
    assert expected == pytest.approx(0.110944, abs=1e-6)
    changed = term.loss(ModelOutputs(ours), batch, ModelOutputs(theirs))
    assert changed.item() == pytest.approx(expected, abs=1e-6)


def test_a_layer_that_some_student_lacks_is_refused() -> None:
    said = RelationsLoss.problem(RelationsOptions(relation_student_layer=3), TWO, [TWO])
    assert said and said.startswith("invalid relation_student_layer 3: the space has students of 2")


def test_weights_change_evenly_over_the_training() -> None:
    objective = WeightedLosses(
        {"a": ((1.0, 0.0), TaskLoss()), "b": (2.0, TaskLoss()), "c": (0.0, TaskLoss())}
    )
    assert (objective.weight("a"), objective.weight("b")) == (1.0, 2.0)
    objective.ramp.fill_(0.25)
    assert (objective.weight("a"), objective.weight("b")) == (0.75, 2.0)
    assert set(objective.ends) == {"a", "b"}


def test_parameters_go_on_only_where_they_mean_the_same() -> None:
    before = hidden_loss(mapping="skip").state_dict()
    assert hidden_loss(mapping="skip").continues(before)
    assert not hidden_loss(mapping="skip+last", shared_projection=True).continues(before)
    deep = Shapes(Architecture(4, 1, 2, 4, "gelu"), TWO)
    statistics = TeacherStatistics(torch.zeros(5, 2), torch.ones(5, 2))
    skip, last = (
        HiddenLoss(deep, HiddenOptions(mapping=mapping), statistics) for mapping in ("skip", "last")
    )
    assert not last.continues(skip.state_dict())


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_what_a_loss_reads_is_known_before_there_are_statistics(name: str) -> None:
    kind = LOSSES[name]
    options = kind.Options()
    # Those of decoders do not fit a teacher without one.
    shapes = PAIRS if kind.problem(options, TWO, [TWO]) else SHAPES
    loss = kind(shapes, options, STATISTICS)
    assert kind.teacher_request(shapes, options) == loss.of_teacher
    assert kind.student_request(shapes, options) == loss.of_student
