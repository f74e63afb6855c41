"""Pruned students as states in training, and as untrained candidates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from kdnas.config import Settings
from kdnas.distillation.losses import LOSSES
from kdnas.errors import KdnasError
from kdnas.measure import count_macs, count_params
from kdnas.scoring.costs import CostMeter
from kdnas.space import Architecture, Candidate, PrunedArchitecture
from kdnas.students import build_student, empty_student
from kdnas.students.pruning import Kept, is_sliced, sliced
from kdnas.students.state import StudentState
from kdnas.tasks import load_spec
from kdnas.teachers.load import load_teacher

COUNTS = PrunedArchitecture((3, 0, 1), 32, (64, 8, 0), "gelu")


def test_a_state_survives_the_way_through_a_folder(teacher_folder: Path, tmp_path: Path) -> None:
    teacher = load_teacher(str(teacher_folder), load_spec("sst2")).model
    state = StudentState(build_student(teacher, COUNTS))
    assert state.architecture == COUNTS and is_sliced(state.model)
    state.save(tmp_path)
    again = StudentState.load(tmp_path)
    assert again.architecture == COUNTS and is_sliced(again.model)
    tokens = torch.arange(5, 15)[None]
    with torch.no_grad():
        assert torch.equal(again.model(tokens).logits, state.model(tokens).logits)


def test_students_of_a_pruned_teacher_are_not_pruned(teacher_folder: Path) -> None:
    teacher = load_teacher(str(teacher_folder), load_spec("sst2")).model
    Kept.first(COUNTS).write(teacher.config)
    student = StudentState(build_student(teacher, Architecture(2, 2, 16, 32, "relu")))
    assert student.architecture == Architecture(2, 2, 16, 32, "relu")


@pytest.mark.parametrize("family", ["bert", "modernbert", "distilbert", "mpnet"])
def test_costs_of_a_candidate_are_those_of_its_sliced_form(
    family: str, make_teacher: Callable[..., Path]
) -> None:
    teacher = load_teacher(str(make_teacher(family)), load_spec("sst2")).model
    settings = Settings(teacher=str(family), latency_length=16, latency_quiet=False)
    meter = CostMeter(teacher, settings)
    counts = PrunedArchitecture((3, 0, 1), 32, (64, 8, 0), "gelu")
    costs = meter.of_candidate(Candidate(counts))
    student = sliced(teacher, Kept.first(counts))
    assert costs.params == count_params(student) < meter.teacher_params
    assert costs.macs == count_macs(student, 16) < meter.teacher_macs


def test_counted_by_hand(teacher_folder: Path) -> None:
    """BERT's layers: heads of 8 in 32 dimensions; each head has 3 * (32 * 8 + 8) + 32 * 8."""
    teacher = load_teacher(str(teacher_folder), load_spec("sst2")).model
    student = empty_student(teacher.config, COUNTS)
    head, neuron = 3 * (32 * 8 + 8) + 32 * 8, 32 + 1 + 32
    gone_heads, gone_neurons = 12 - 4, 3 * 64 - 72
    lost = gone_heads * head + gone_neurons * neuron
    assert count_params(teacher) - count_params(student) == lost
    heads = gone_heads * 16 * (4 * 32 * 8 + 2 * 16 * 8)
    assert count_macs(teacher, 16) - count_macs(student, 16) == heads + gone_neurons * 16 * 64
    tables = sum(m.weight.numel() for m in student.modules() if hasattr(m, "num_embeddings"))
    assert count_params(student, embeddings=False) == count_params(student) - tables


def test_losses_on_each_head_refuse_pruned_ones() -> None:
    loss, teacher = LOSSES["attention"], Architecture(3, 4, 32, 64, "gelu")
    problem = loss.problem(loss.Options(), teacher, [teacher, COUNTS])
    assert problem and problem.startswith("the loss attention reads all heads of a layer")


def test_counts_of_another_teacher_are_refused(teacher_folder: Path) -> None:
    teacher = load_teacher(str(teacher_folder), load_spec("sst2")).model
    for heads, neurons in (((5, 0, 0), (64, 8, 0)), ((3, 0, 1, 1), (64, 8, 0, 0))):
        with pytest.raises(KdnasError, match="does not fit the teacher, 3x32 h4 f64 gelu"):
            empty_student(teacher.config, PrunedArchitecture(heads, 32, neurons, "gelu"))
