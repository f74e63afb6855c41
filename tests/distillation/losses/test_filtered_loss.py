"""Filters: golden values, what heads read, pairs of layers; a frozen model stays as it is."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import sentence
from torch import nn

from kdnas.distillation.batches import Batch, collate
from kdnas.distillation.forward import forward
from kdnas.distillation.losses import Shapes, TeacherStatistics
from kdnas.distillation.losses.base import WeightedLosses
from kdnas.distillation.losses.filtered import (
    FilteredLoss,
    FilteredOptions,
    TeacherFilter,
    filtered,
    head_logits,
    layer_pairs,
)
from kdnas.distillation.outputs import ModelOutputs, OutputRequest, State
from kdnas.distillation.packing import Packing
from kdnas.distillation.schedule import Schedule
from kdnas.distillation.signals import LiveSignal
from kdnas.distillation.training import train
from kdnas.runtime.device import Runtime, start_runtime
from kdnas.space import Architecture
from kdnas.tasks import TASK_TYPES, EncodedExamples, Examples, encode, load_spec
from kdnas.tasks.encode import Units
from kdnas.teachers.load import Teacher, load_teacher

ONE = Architecture(1, 1, 2, 4, "gelu")
SHAPES = Shapes(ONE, ONE, 2)


def batch_of(mask: list[list[int]], units: Units | None = None) -> Batch:
    ids = torch.ones(len(mask), len(mask[0]), dtype=torch.long)
    inputs = {"input_ids": ids, "attention_mask": torch.tensor(mask)}
    packing = Packing.of(np.array(mask, dtype=bool))
    task, units = TASK_TYPES["classification"], units or Units(torch.arange(len(mask)))
    return Batch(np.arange(len(mask)), inputs, torch.zeros(len(mask)), task, units, packing)


def value(normalisation: str, spread: list[list[float]]) -> float:
    """Of a student whose filter changes nothing: two tokens, the second one padding."""
    batch = batch_of([[1, 0]])
    ours, theirs = (
        batch.packing.real(torch.tensor([rows]))
        for rows in ([[1.0, 2.0], [5.0, 5.0]], [[1.0, 0.0], [0.0, 0.0]])
    )
    statistics = TeacherStatistics(views={filtered(1): torch.tensor(spread)})
    loss = FilteredLoss(SHAPES, FilteredOptions(normalisation=normalisation), statistics)
    with torch.no_grad():
        loss.filters[0].weight.copy_(torch.eye(2))
        loss.filters[0].bias.zero_()
    output = ModelOutputs({State("hidden", 1): ours})
    return loss.loss(output, batch, ModelOutputs({filtered(1): theirs})).item()


def test_golden_filtered_loss_without_padding() -> None:
    spread = [[9.0, 9.0], [3.0, 5.0]]
    assert value("raw", spread) == pytest.approx(2.0)
    assert value("layer", spread) == pytest.approx(4 / 8)
    assert value("dimension", spread) == pytest.approx(4 / 5 / 2)


def test_the_loss_is_a_mean_over_pairs_of_layers() -> None:
    two = Architecture(2, 1, 2, 4, "gelu")
    loss = FilteredLoss(Shapes(two, two, 2), FilteredOptions(normalisation="raw", mapping="skip"))
    for own in loss.filters:
        nn.init.zeros_(own.weight)
        nn.init.zeros_(own.bias)
    states = torch.tensor([[1.0, 0.0]])
    output = ModelOutputs({State("hidden", i): states for i in (1, 2)})
    signal = ModelOutputs({filtered(1): 2 * states, filtered(2): 4 * states})
    assert loss.loss(output, batch_of([[1]]), signal).item() == pytest.approx((2 + 8) / 2)


@pytest.mark.parametrize(
    ("student", "mapping", "interval", "pairs"),
    [
        (6, "evenly", 1, [(1, 2), (2, 4), (3, 6), (4, 8), (5, 10), (6, 12)]),
        (6, "evenly", 4, [(2, 4), (6, 12)]),
        (4, "last", 2, [(2, 10), (4, 12)]),
        (2, "skip+last", 1, [(1, 6), (1, 11), (2, 12)]),
    ],
)
def test_pairs_of_layers(
    student: int, mapping: str, interval: int, pairs: list[tuple[int, int]]
) -> None:
    shapes = Shapes(Architecture(12, 1, 4, 4, "gelu"), Architecture(student, 1, 2, 4, "gelu"), 2)
    options = FilteredOptions(mapping=mapping, filter_interval=interval)
    assert list(layer_pairs(shapes, options)) == pairs
    loss = FilteredLoss(shapes, options)
    assert {s.layer for s in loss.of_student.states} == {ours for ours, _ in pairs}
    assert loss.of_teacher.states == {filtered(theirs) for _, theirs in pairs}
    views = FilteredLoss.views(shapes, options)
    assert views.keys() == loss.of_teacher.states
    assert all(view.of_teacher.states == {State("hidden", s.layer)} for s, view in views.items())
    assert all(0 not in (ours, theirs) for ours, theirs in pairs)  # none on the embeddings


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_filters_have_the_asked_size(kind: str) -> None:
    shapes = Shapes(Architecture(1, 1, 6, 4, "gelu"), ONE, 3)
    for size, width in ((None, 6), (4, 4)):
        options = FilteredOptions(filter_size=size, filter_kind=kind)
        assert FilteredLoss(shapes, options).filters[0](torch.zeros(5, 2)).shape == (5, width)
        signal = ModelOutputs({State("hidden", 1): torch.zeros(5, 6).half()})
        made = TeacherFilter(shapes, options, 1).view(signal)
        assert made.shape == (5, width) and made.dtype == torch.float32


def test_what_heads_read() -> None:
    """Of three tokens and of one: the mean, the first, or the tokens that are units."""
    states = torch.tensor([[1.0, 0.0], [2.0, 6.0], [3.0, 0.0], [7.0, 8.0]])
    own, head = nn.Identity(), nn.Identity()
    batch = batch_of([[1, 1, 1, 0], [1, 0, 0, 0]])
    mean = head_logits(own, head, states, batch, "mean")
    assert mean.tolist() == [[2.0, 2.0], [7.0, 8.0]]
    first = head_logits(own, head, states, batch, "first")
    assert first.tolist() == [[1.0, 0.0], [7.0, 8.0]]
    units = Units(torch.tensor([0, 1, 0]), torch.tensor([2, 0, 1]), 2, 4)
    tokens = batch_of([[1, 1, 1, 0], [1, 0, 0, 0]], units)
    for pooling in ("first", "mean"):
        read = head_logits(own, head, states, tokens, pooling)
        assert read.tolist() == [[3.0, 0.0], [7.0, 8.0], [2.0, 6.0]]


def test_only_filters_go_on_and_only_where_they_mean_the_same() -> None:
    labels = FilteredLoss(SHAPES, FilteredOptions(filter_goal="labels"))
    assert labels.of_teacher == OutputRequest() and not FilteredLoss.views(SHAPES, labels.options)
    assert any(name.startswith("heads.") for name in labels.state_dict())
    kept = labels.learnt()
    assert kept.keys() == {"filters.0.weight", "filters.0.bias", "pairs"}
    assert FilteredLoss(SHAPES).continues(kept)
    assert not FilteredLoss(SHAPES, FilteredOptions(filter_size=3)).continues(kept)
    deep = Shapes(Architecture(2, 1, 2, 4, "gelu"), ONE, 2)
    assert not FilteredLoss(deep, FilteredOptions(mapping="last")).continues(kept)


@pytest.fixture
def teacher(teacher_folder: Path) -> Teacher:
    return load_teacher(str(teacher_folder), load_spec("sst2"))


@pytest.fixture
def data(teacher: Teacher) -> EncodedExamples:
    rng = random.Random(0)
    labels = np.arange(64) % 2
    texts = [("good " if label else "bad ") + sentence(rng) for label in labels]
    return encode(Examples(texts, None, labels), teacher.tokenizer, 32)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("runs", [True, False])
def test_a_frozen_model_stays_as_it_is(
    runs: bool, precision: Any, teacher: Teacher, data: EncodedExamples, tmp_path: Path
) -> None:
    runtime: Runtime = start_runtime(device="cpu", precision=precision)
    shape = teacher.architecture
    shapes, options = Shapes(shape, shape, 2), FilteredOptions(filter_goal="labels")
    loss = FilteredLoss(shapes, options) if runs else TeacherFilter(shapes, options, 2)
    source = LiveSignal(teacher.model, runtime)
    before = {name: v.clone() for name, v in teacher.model.state_dict().items()}
    own = {name: v.clone() for name, v in loss.state_dict().items() if v.is_floating_point()}
    schedule, file = Schedule(4, 1e-2, 16, freeze_embeddings=False), tmp_path / "state.pt"
    result = train(
        *(teacher.model, WeightedLosses({"filtered": (1.0, loss)}), data, source, schedule),
        runtime,
        **{"pad_id": 0, "checkpoint": file, "freeze_model": True, "until": 0.9},
    )
    assert result.curve[-1][1] < result.curve[0][1]
    for name, weight in teacher.model.state_dict().items():
        assert torch.equal(weight, before[name]), name
    assert all(p.requires_grad and p.grad is None for p in teacher.model.parameters())
    after = loss.state_dict()
    assert all(not torch.equal(after[n], v) for n, v in own.items() if n not in ("spread", "scale"))
    state = torch.load(file, weights_only=True)["weights"]  # of the losses alone
    assert state.keys() == {f"objective.losses.filtered.{name}" for name in after}


def test_a_model_of_which_nothing_is_read_does_not_run(
    teacher: Teacher, data: EncodedExamples, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = teacher.architecture
    loss = TeacherFilter(Shapes(shape, shape, 2), FilteredOptions(), 1)
    batch = collate(data, np.arange(4), 0)
    states = forward(teacher.model, batch, loss.of_teacher)

    class Known:
        def fetch(self, *_: Any) -> ModelOutputs:
            return states

    monkeypatch.setattr(type(teacher.model), "forward", None)
    monkeypatch.setattr(type(teacher.model.base_model), "forward", None)
    found = WeightedLosses({"view": (1.0, loss)})(teacher.model, batch, Known())
    assert found["total"].isfinite()
