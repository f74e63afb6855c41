"""Relations of pruned students, and what is said of them on held-out rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from kdnas.distillation.batches import Batch, collate
from kdnas.distillation.forward import forward
from kdnas.distillation.losses import LOSSES, Shapes
from kdnas.distillation.losses.relations import (
    RelationsLoss,
    RelationsOptions,
    attention_size,
    common_heads,
    last_with_heads,
)
from kdnas.distillation.outputs import ModelOutputs
from kdnas.distillation.signals import LiveSignal
from kdnas.errors import KdnasError
from kdnas.runtime.device import start_runtime
from kdnas.space import Architecture, PrunedArchitecture
from kdnas.students.pruning import Kept, dense, sliced
from kdnas.tasks import EncodedExamples, load_spec
from kdnas.teachers.load import Teacher, load_teacher

SHAPE = Architecture(3, 4, 32, 64, "gelu")
# The last layer is without heads, the one before has three of size 8.
COUNTS = PrunedArchitecture((4, 3, 0), 32, (64, 8, 8), "gelu")
NOTHING = PrunedArchitecture((0, 0, 0), 32, (64, 8, 8), "gelu")


@pytest.fixture(scope="module")
def batch() -> Batch:
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(3, 30, 9))]).astype(np.int64)
    ids = rng.integers(5, 150, offsets[-1]).astype(np.int32)
    return collate(EncodedExamples(ids, None, offsets, np.arange(9) % 2), np.arange(9), 0)


@pytest.fixture(scope="module")
def teacher(teacher_folder: Path) -> Teacher:
    return load_teacher(str(teacher_folder), load_spec("sst2"))


def outputs(
    loss: RelationsLoss, teacher: Teacher, counts: PrunedArchitecture, batch: Batch
) -> tuple[ModelOutputs, ModelOutputs]:
    """What a pruned student and its teacher give for a loss."""
    student = sliced(teacher.model, Kept.first(counts))
    signal = LiveSignal(teacher.model, start_runtime(device="cpu", precision="fp32")).fetch(
        batch, loss.of_teacher
    )
    return forward(student, batch, loss.of_student), signal


def test_layer_and_heads_of_a_pruned_student() -> None:
    assert (last_with_heads(SHAPE), last_with_heads(COUNTS), last_with_heads(NOTHING)) == (3, 2, 0)
    assert attention_size(SHAPE, COUNTS, 2) == 24 and attention_size(SHAPE, SHAPE, 2) == 32
    assert common_heads(SHAPE.num_attention_heads, 32, 24) == 4 and common_heads(4, 32, 16) == 4
    assert common_heads(12, 384, 160) == 8
    assert RelationsLoss.problem(RelationsOptions(), SHAPE, [COUNTS, NOTHING]) is None


def test_a_pruned_student_learns_from_its_last_layer_with_heads(
    teacher: Teacher, batch: Batch
) -> None:
    loss = RelationsLoss(Shapes(teacher.architecture, COUNTS))
    output, signal = outputs(loss, teacher, COUNTS, batch)
    assert {state.layer for state in output.states} == {2}
    assert {state.layer for state in signal.states} == {3}
    value = loss.loss(output, batch, signal)
    assert value.requires_grad and 0 < float(value.detach()) < 10


def test_without_heads_there_is_nothing_to_compare(teacher: Teacher, batch: Batch) -> None:
    loss = RelationsLoss(Shapes(teacher.architecture, NOTHING))
    output, signal = outputs(loss, teacher, NOTHING, batch)
    assert not output.states and float(loss.loss(output, batch, signal)) == 0
    assert float(loss.heldout_value(output, batch, signal)) == 1


def test_the_held_out_value_is_a_share_of_knowing_nothing(teacher: Teacher, batch: Batch) -> None:
    loss = LOSSES["relations"](Shapes(teacher.architecture, teacher.architecture))
    signal = LiveSignal(teacher.model, start_runtime(device="cpu", precision="fp32")).fetch(
        batch, loss.of_teacher
    )
    assert float(loss.heldout_value(signal, batch, signal)) == pytest.approx(0, abs=1e-6)
    even = ModelOutputs({state: torch.zeros_like(x) for state, x in signal.states.items()})
    assert float(loss.heldout_value(even, batch, signal)) == pytest.approx(1)


def test_relation_heads_that_do_not_divide_what_is_left_are_refused() -> None:
    with pytest.raises(KdnasError, match="relation_heads 16 does not divide 24, .* of layer 2"):
        RelationsLoss(Shapes(SHAPE, COUNTS), RelationsOptions(relation_heads=16))


def test_what_may_not_fit_a_pruned_student_is_refused_before_there_is_one() -> None:
    """A layer may lose its heads; of those left, however many, each is 8 wide."""
    students = [SHAPE, PrunedArchitecture.whole(SHAPE)]

    def said(**options: int) -> str:
        return RelationsLoss.problem(RelationsOptions(**options), SHAPE, students) or ""

    assert "invalid relation_student_layer 2: a pruned student may have no heads" in said(
        relation_student_layer=2
    )
    assert "relation_heads 16 does not divide 8, the size of one head" in said(relation_heads=16)
    assert said(relation_heads=8) == said(relation_layer=2) == ""
    for options in (
        RelationsOptions(relation_heads=16),
        RelationsOptions(relation_student_layer=2),
    ):
        assert RelationsLoss.problem(options, SHAPE, [SHAPE]) is None


def test_a_pruned_teacher_teaches_from_the_last_layer_and_the_heads_that_it_has(
    teacher: Teacher, batch: Batch
) -> None:
    """In its dense form, heads that are gone are zeros, which relate all tokens alike."""
    heads = ((0, 1, 2, 3), (1, 3), ())
    kept = Kept.of(heads, [range(64)] * 3)
    shapes = Shapes(teacher.architecture, COUNTS, heads_left=heads)
    loss = RelationsLoss(shapes)
    pruned = sliced(teacher.model, kept)
    assert (loss.teacher_layer, loss.heads) == (2, 2)
    signal = forward(dense(pruned), batch, loss.of_teacher)
    output = forward(sliced(teacher.model, Kept.first(COUNTS)), batch, loss.of_student)
    # The same as of the states that the sliced form has, without any zeros.
    small = PrunedArchitecture.of(SHAPE, map(len, heads), [64] * 3)
    own = RelationsLoss(Shapes(teacher.architecture, small), RelationsOptions(relation_heads=2))
    states = forward(pruned, batch, own.of_student)
    assert float(loss.heldout_value(states, batch, signal)) == pytest.approx(0, abs=1e-6)
    assert float(loss.heldout_value(output, batch, signal)) > 0.01


def test_of_a_pruned_teacher_a_layer_without_heads_stands_for_the_last_below_it() -> None:
    shapes = Shapes(SHAPE, COUNTS, heads_left=((), (1,), ()))
    assert RelationsLoss(shapes, RelationsOptions(relation_layer=3)).teacher_layer == 2
    without = RelationsLoss(shapes, RelationsOptions(relation_layer=1))
    assert without.teacher_layer == 0 and not without.of_teacher.states


def test_a_teacher_below_which_nothing_has_heads_gives_nothing_to_compare(
    teacher: Teacher, batch: Batch
) -> None:
    shapes = Shapes(teacher.architecture, COUNTS, heads_left=((), (), ()))
    loss = RelationsLoss(shapes)
    output, signal = outputs(loss, teacher, COUNTS, batch)
    assert float(loss.loss(output, batch, signal)) == 0
    assert float(loss.heldout_value(output, batch, signal)) == 1
