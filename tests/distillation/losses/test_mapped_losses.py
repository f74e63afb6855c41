"""Losses on mapped layers without padding: `attention` and `first-token`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from kdnas.distillation.batches import collate
from kdnas.distillation.forward import forward
from kdnas.distillation.losses import LOSSES, Shapes
from kdnas.distillation.losses.attention import (
    AttentionLoss,
    AttentionOptions,
    attention_loss,
    real_places,
    scores,
)
from kdnas.distillation.losses.base import DistillationLoss, Fitting
from kdnas.distillation.losses.first_token import (
    FirstTokenLoss,
    FirstTokenOptions,
    first_token_loss,
)
from kdnas.distillation.outputs import (
    ModelOutputs,
    OutputRequest,
    State,
    attention_states,
    first_token_states,
)
from kdnas.distillation.signals import LiveSignal
from kdnas.runtime.device import Runtime
from kdnas.space import Architecture
from kdnas.students import build_student
from kdnas.tasks import EncodedExamples, load_spec
from kdnas.teachers.load import Teacher, load_teacher
from kdnas.teachers.store import build_store

PAD = 0
# A packed family, a padded one, one whose layers share their weights, angles, relative positions.
LOADED = ["bert", "mpnet", "albert", "modernbert", "deberta-v2"]


@pytest.fixture(scope="module")
def data() -> EncodedExamples:
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(3, 30, 9))]).astype(np.int64)
    ids = rng.integers(5, 150, offsets[-1]).astype(np.int32)
    return EncodedExamples(ids, None, offsets, np.arange(9) % 2)


def teacher_of(folder: Path) -> Teacher:
    return load_teacher(str(folder), load_spec("sst2"))


def student_of(teacher: Teacher, **changes: Any) -> tuple[PreTrainedModel, Architecture]:
    """Half the teacher's layers, random weights."""
    shape = replace(teacher.architecture, num_hidden_layers=2, **changes)
    return build_student(teacher.model, shape, inherit=False), shape


def test_golden_attention_loss() -> None:
    """Two heads, three queries and keys; the second query and the third key are padding."""
    ours = torch.tensor([[[[1.0, 2, 9], [0, 0, 9]], [[0, 1, 9], [3, 3, 9]]]])
    theirs = torch.tensor([[[[0.0, 2, 5], [1, 1, 5]], [[0, 3, 5], [0, 0, 5]]]])
    queries, keys = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0, 0.0]])
    found = attention_loss(ours, theirs, queries, keys, torch.ones(2))
    assert found.item() == pytest.approx(1.25)
    found = attention_loss(ours, theirs, queries, keys, torch.tensor([2.0, 0.0]))
    assert found.item() == pytest.approx(4 * 0.25)


def test_each_query_counts_once_however_long_its_text_is() -> None:
    """Texts of one and three tokens with errors 4 and 1: (1 * 4 + 3 * 1) / 4 queries."""
    errors = torch.ones(2, 1, 3, 3)
    errors[0] = 2
    real = torch.tensor([[1.0, 0, 0], [1, 1, 1]])
    found = attention_loss(errors, torch.zeros_like(errors), real, real, torch.ones(1))
    assert found.item() == pytest.approx(7 / 4)


def test_golden_first_token_loss() -> None:
    ours, theirs = torch.tensor([[3.0, 4.0], [2.0, 0.0]]), torch.tensor([[4.0, 3.0], [0.0, 5.0]])
    # (0.6 - 0.8) ** 2 + (0.8 - 0.6) ** 2 = 0.08, and two at right angles: 2.
    assert first_token_loss(ours, theirs).item() == pytest.approx((0.08 + 2) / 2)
    assert first_token_loss(7 * ours, ours).item() == pytest.approx(0, abs=1e-6)
    assert first_token_loss(-ours, ours).item() == pytest.approx(4)


def test_patient_kd_leaves_the_last_layer_out() -> None:
    """The layers of Sun et al. 2019: a student of 6 layers, a teacher of 12."""
    shapes = Shapes(Architecture(12, 2, 8, 8, "gelu"), Architecture(6, 2, 8, 8, "gelu"))
    expected = {"skip": (2, 4, 6, 8, 10), "last": (7, 8, 9, 10, 11)}
    for mapping, layers in expected.items():
        options = FirstTokenOptions(mapping=mapping)
        assert FirstTokenLoss.map_layers(shapes, options).teacher_layers == layers
    whole = FirstTokenOptions(last_layer=True)
    assert FirstTokenLoss.map_layers(shapes, whole).teacher_layers == (2, 4, 6, 8, 10, 12)
    shallow = replace(shapes, student=replace(shapes.student, num_hidden_layers=1))
    assert FirstTokenLoss.map_layers(shallow, FirstTokenOptions()).teacher_layers == (12,)


def test_a_layer_with_two_targets_learns_from_both() -> None:
    shape = Architecture(2, 1, 2, 4, "gelu")
    loss = FirstTokenLoss(Shapes(shape, shape), FirstTokenOptions(mapping="skip+last"))
    assert not loss.projections and loss.layer_map.targets == ((1, 1),)
    narrow = replace(shape, hidden_size=1)
    loss = FirstTokenLoss(Shapes(shape, narrow), FirstTokenOptions(mapping="skip+last"))
    assert [tuple(p.weight.shape) for p in loss.projections] == [(4, 1)]


@pytest.mark.parametrize("family", LOADED)
def test_scores_are_those_that_the_softmax_of_bert_reads(
    family: str, make_teacher: Callable[..., Path], data: EncodedExamples
) -> None:
    """Where nothing of positions is added later, they are the attention's own."""
    teacher = teacher_of(make_teacher(family))
    batch, heads = collate(data, np.arange(9), PAD), teacher.architecture.num_attention_heads
    loss = AttentionLoss(Shapes(teacher.architecture, teacher.architecture))
    found = scores(forward(teacher.model, batch, loss.of_teacher), 2, batch, heads)[:9]
    if family not in ("bert", "albert"):
        assert found.shape == (9, heads, *[batch.packing.shape[1]] * 2)
        return
    teacher.model.set_attn_implementation("eager")
    expected = teacher.model(**batch.inputs, output_attentions=True).attentions[1]
    mask = batch.inputs["attention_mask"].bool()
    said = found.masked_fill(~mask[:, None, None], -math.inf).softmax(-1)
    for i, length in enumerate(mask.sum(1)):
        torch.testing.assert_close(
            said[i, :, :length], expected[i, :, :length], atol=1e-5, rtol=1e-4
        )


def test_heads_that_a_pruned_teacher_has_lost_do_not_count(
    make_teacher: Callable[..., Path], data: EncodedExamples, runtime: Runtime
) -> None:
    """Of one head of four left, the loss is what that head's is; without any it is 0."""
    teacher, batch = teacher_of(make_teacher()), collate(data, np.arange(9), PAD)
    shape = replace(teacher.architecture, num_hidden_layers=1)
    student = build_student(teacher.model, shape, inherit=False)
    source = LiveSignal(teacher.model, runtime)
    for name in ("raw", "layer", "dimension"):
        options = AttentionOptions(normalisation=name)
        values = []
        for left in ((0, 1, 2, 3), (2,), ()):
            heads = ((), (), left)
            loss = AttentionLoss(Shapes(teacher.architecture, shape, heads_left=heads), options)
            loss.fit(Fitting(student, [batch], source, runtime))
            signal = source.fetch(batch, loss.of_teacher)
            for kind in ("query", "key"):  # zeros, as in the dense form
                states = signal.states[State(kind, 3)].view(-1, 4, 8)
                states[:, [h for h in range(4) if h not in left]] = 0
            output = forward(student, batch, loss.of_student)
            values.append(loss.loss(output, batch, signal).item())
            of_one = [scores(one, n, batch, 4)[:, 2:3] for one, n in ((output, 1), (signal, 3))]
            real = torch.stack([real_places(batch)[0]] * 2)
            if left == (2,) and name == "raw":
                alone = attention_loss(*of_one, *real, torch.ones(1))
                assert values[-1] == pytest.approx(alone.item(), rel=1e-5)
        assert values[2] == 0 and 0.05 < values[1] / values[0] < 20


def losses_for(shapes: Shapes) -> dict[str, DistillationLoss]:
    return {name: LOSSES[name](shapes) for name in ("attention", "first-token")}


@pytest.mark.parametrize("family", LOADED)
def test_padding_never_counts_and_gradients_flow(
    family: str, make_teacher: Callable[..., Path], data: EncodedExamples, runtime: Runtime
) -> None:
    """Examples together in a padded batch cost what each costs alone, without padding."""
    teacher = teacher_of(make_teacher(family))
    narrow = teacher.architecture.hidden_size // 2
    student, shape = student_of(teacher, hidden_size=narrow)
    source = LiveSignal(teacher.model, runtime)
    batches = [
        collate(data, np.arange(9), PAD),
        *(collate(data, np.array([i]), PAD) for i in range(9)),
    ]
    for name, loss in losses_for(Shapes(teacher.architecture, shape)).items():
        loss.fit(Fitting(student, batches[:1], source, runtime))
        values = []
        for batch in batches:
            signal = source.fetch(batch, loss.of_teacher)
            values.append(loss.loss(forward(student, batch, loss.of_student), batch, signal))
        counts = np.array([loss.count(batch) for batch in batches])
        assert counts[0] == counts[1:].sum()
        alone = float(sum(v.item() * c for v, c in zip(values[1:], counts[1:], strict=True)))
        assert values[0].item() == pytest.approx(alone / counts[0], rel=1e-4), name
        student.zero_grad()
        values[0].backward()
        touched = {n for n, p in student.named_parameters() if p.grad is not None and p.grad.any()}
        assert len(touched) > 5, name
        for parameter in loss.parameters():
            assert parameter.grad is not None and parameter.grad.any()


@pytest.mark.parametrize(
    ("normalisation", "expected"), [("layer", 1.0), ("dimension", 1.0), ("raw", None)]
)
def test_scores_that_are_each_heads_mean_leave_all_variance(
    normalisation: str, expected: float | None, teacher_folder: Path, data: EncodedExamples,
    runtime: Runtime,
) -> None:  # fmt: skip
    teacher = teacher_of(teacher_folder)
    shapes, source = Shapes(teacher.architecture, teacher.architecture), None
    loss = AttentionLoss(shapes, AttentionOptions(normalisation=normalisation))
    source, batch = LiveSignal(teacher.model, runtime), collate(data, np.arange(9), PAD)
    loss.fit(Fitting(teacher.model, [batch], source, runtime))
    if expected is None:
        assert bool((loss.scale == 1).all())
        return
    signal = source.fetch(batch, OutputRequest(attention_states(2, kinds=("query", "key"))))
    found = scores(signal, 2, batch, loss.heads)
    real = (batch.packing.bias[:, 0] == 0).float()
    share = real / real.sum(1, keepdim=True).clamp_min(1)
    means = torch.einsum("bhqk,bq,bk->h", found, real, share) / real.sum()
    constant = means[:, None, None].expand_as(found)
    error = attention_loss(constant, found, real, real, loss.scale[2])
    assert error.item() == pytest.approx(expected, rel=1e-4)
    assert attention_loss(found, found, real, real, loss.scale[2]).item() == 0


def test_students_with_other_heads_are_refused_in_one_line() -> None:
    teacher = Architecture(4, 12, 24, 8, "gelu")
    students = [replace(teacher, num_attention_heads=heads) for heads in (3, 6, 12)]
    said = AttentionLoss.problem(AttentionOptions(), teacher, students)
    assert said is not None and "\n" not in said
    assert "12 heads" in said and "3, 6;" in said and "num_attention_heads: [12]" in said
    assert "relations" in said
    assert AttentionLoss.problem(AttentionOptions(), teacher, students[2:]) is None


def test_a_store_keeps_first_tokens_alone(
    teacher_folder: Path, data: EncodedExamples, runtime: Runtime, tmp_path: Path
) -> None:
    teacher = teacher_of(teacher_folder)
    states = [State("first", 2), State("hidden", 2), State("query", 1)]
    store = build_store(tmp_path / "store", teacher, data, states, runtime)
    width, tokens = teacher.architecture.hidden_size, int(data.offsets[-1])
    assert store.states[State("first", 2)].shape == (9, width)
    assert (tmp_path / "store" / "first-02.f16").stat().st_size == 9 * width * 2
    assert store.states[State("hidden", 2)].shape == (tokens, width)
    rows = np.array([7, 2, 4])
    batch = collate(data.take(rows), np.arange(3), PAD, stride=2)
    signal = store.subset(rows)
    found = signal.fetch(batch, OutputRequest(first_token_states([2])))
    expected = torch.from_numpy(store.states[State("hidden", 2)][data.offsets[rows]])
    torch.testing.assert_close(found.first(2), expected)


def test_projections_of_first_tokens_start_at_least_squares(
    teacher_folder: Path, data: EncodedExamples, runtime: Runtime
) -> None:
    teacher = teacher_of(teacher_folder)
    student, shape = student_of(teacher, hidden_size=teacher.architecture.hidden_size // 2)
    source, batch = LiveSignal(teacher.model, runtime), collate(data, np.arange(9), PAD)
    loss = FirstTokenLoss(Shapes(teacher.architecture, shape))
    output: ModelOutputs = forward(student, batch, loss.of_student)
    signal = source.fetch(batch, loss.of_teacher)
    before = loss.loss(output, batch, signal).item()
    loss.fit(Fitting(student, [batch] * 8, source, runtime))
    assert loss.loss(output, batch, signal).item() < before
