"""The losses on decoders and on cross-attention."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from support.tiny_pairs import pair_batch, tiny_pair
from transformers import PreTrainedModel

from kdnas.distillation.batches import Batch
from kdnas.distillation.forward import forward
from kdnas.distillation.losses import LOSSES, DistillationLoss, Shapes, TeacherStatistics
from kdnas.distillation.losses.attention import attention_loss, real_places, scores
from kdnas.distillation.losses.base import Fitting, WeightedLosses
from kdnas.distillation.outputs import OutputRequest, State, attention_states, hidden_states
from kdnas.distillation.signals import LiveSignal
from kdnas.runtime.device import Runtime
from kdnas.space import Architecture, SearchSpace
from kdnas.students import build_student

DECODERS = [
    *("decoder-hidden", "decoder-embeddings", "decoder-attention", "decoder-relations"),
    "cross-attention",
]
OURS = [*DECODERS, "encoder-output"]
SOME = [("bart", {}), ("mbart", {}), ("t5", {}), ("encoder-decoder", {})]


def shape_of(model: PreTrainedModel) -> Architecture:
    return SearchSpace.from_teacher(model.config, "t").teacher


def statistics_of(teacher: PreTrainedModel, batch: Batch) -> TeacherStatistics:
    depths = shape_of(teacher).stacks
    found = []
    for place, stack in zip(("encoder", "decoder"), depths, strict=True):
        layers = range(stack.num_hidden_layers + 1)
        output = forward(teacher, batch, OutputRequest(hidden_states(layers, place)))
        states = [output.hidden(layer, place).detach() for layer in layers]
        variances = torch.stack([s.var(0, correction=0) for s in states])
        found.append((torch.stack([s.mean(0) for s in states]), variances))
    return TeacherStatistics(*found[0], decoder=found[1])


def loss_of(name: str, teacher: PreTrainedModel, student: PreTrainedModel) -> DistillationLoss:
    shapes = Shapes(shape_of(teacher), shape_of(student))
    kind = LOSSES[name]
    options = kind.Options(mapping="evenly") if "mapping" in kind.Options.model_fields else None
    return kind(shapes, options, statistics_of(teacher, pair_batch()))


def test_golden_attention_of_a_decoder() -> None:
    """Errors 1; 2 and 3: the first token sees itself alone, (1 + (4 + 9) / 2) / 2."""
    ours, theirs = torch.tensor([[[[1.0, 5], [2, 3]]]]), torch.zeros(1, 1, 2, 2)
    keys = torch.ones(2, 2).tril()[None]
    found = attention_loss(ours, theirs, torch.ones(1, 2), keys, torch.ones(1))
    assert found.item() == pytest.approx(3.75)


@pytest.mark.parametrize(("model_type", "changes"), SOME)
@torch.no_grad()
def test_scores_are_those_that_each_softmax_reads(model_type: str, changes: dict[str, Any]) -> None:
    """In the decoder's layer 2, but for T5's bias."""
    model, batch = tiny_pair(model_type, **changes), pair_batch()
    for name, parameter in model.named_parameters():
        if "relative_attention_bias" in name:
            parameter.zero_()
    model.set_attn_implementation("eager")
    output = model(**batch.inputs, output_attentions=True)
    mask = batch.inputs["attention_mask"].bool()
    for place, expected in (
        ("encoder", output.encoder_attentions[1]),
        ("decoder", output.decoder_attentions[1]),
        ("cross", output.cross_attentions[1]),
    ):
        wanted = OutputRequest(attention_states(2, place=place))
        found = scores(forward(model, batch, wanted), 2, batch, 4, place)[: len(mask)]
        queries, keys = (part[: len(mask)] for part in real_places(batch, place))
        seen = keys[:, None] if keys.ndim == 2 else keys
        said = found.masked_fill(seen[:, None] == 0, -math.inf).softmax(-1)
        real = queries.bool()
        assert real.sum() == (batch.packing.count if place == "encoder" else len(batch.units))
        told = said.transpose(1, 2)[real], expected.transpose(1, 2)[real]
        torch.testing.assert_close(*told, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("model_type", "changes"), SOME)
@torch.no_grad()
def test_states_are_those_of_plain_transformers(model_type: str, changes: dict[str, Any]) -> None:
    model, batch = tiny_pair(model_type, **changes), pair_batch()
    output = model(**batch.inputs, output_hidden_states=True)
    states = hidden_states(range(4), "decoder") | hidden_states(range(5))
    found = forward(model, batch, OutputRequest(states, logits=True))
    places = batch.units.example, batch.units.position
    real = batch.inputs["attention_mask"].bool()
    for state in states:
        decoder = state.place == "decoder"
        every = output.decoder_hidden_states if decoder else output.encoder_hidden_states
        expected = every[state.layer][places if decoder else real]
        torch.testing.assert_close(found.states[state], expected)
    torch.testing.assert_close(found.logits, output.logits[places])


def projections(loss: DistillationLoss) -> list[torch.nn.Linear]:
    return list(getattr(loss, "projections", ()))


@pytest.mark.parametrize("name", OURS)
def test_a_copy_has_nothing_to_learn_and_a_guess_of_the_mean_costs_1(
    name: str, runtime: Runtime
) -> None:
    teacher, batch = tiny_pair("bart"), pair_batch()
    loss = loss_of(name, teacher, teacher)
    source = LiveSignal(teacher, runtime)
    loss.fit(Fitting(teacher, [batch], source, runtime))
    signal, own = source.fetch(batch, loss.of_teacher), forward(teacher, batch, loss.of_student)
    with torch.no_grad():
        layers = loss.layer_map.teacher_layers if projections(loss) else ()
        for layer, projection in zip(layers, projections(loss), strict=True):
            projection.weight.copy_(torch.diag(loss.scale[layer]))
            projection.bias.copy_(-loss.mean[layer] * loss.scale[layer])
        assert loss.loss(own, batch, signal).item() < 1e-5
        for projection in projections(loss):
            projection.weight.zero_()
            projection.bias.zero_()
        expected = 1 if projections(loss) else 0
        assert loss.loss(own, batch, signal).item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("model_type", ["bart", "t5"])
def test_every_loss_learns(name: str, model_type: str, runtime: Runtime) -> None:
    teacher, batch = tiny_pair(model_type), pair_batch()
    shape = replace(shape_of(teacher), num_hidden_layers=2, num_decoder_layers=2, hidden_size=16)
    student = build_student(teacher, shape, inherit=False).train(False)
    loss = loss_of(name, teacher, student)
    source = LiveSignal(teacher, runtime)
    loss.fit(Fitting(student, [batch], source, runtime))
    objective = WeightedLosses({name: (1.0, loss)})
    optimizer = torch.optim.Adam([*student.parameters(), *objective.parameters()], lr=1e-2)
    values = []
    for _ in range(12):
        total = objective(student, batch, source)["total"]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        values.append(float(total.detach()))
    assert values[-1] < 0.9 * values[0], values


def test_layers_of_each_stack_are_mapped_apart() -> None:
    teacher = Architecture(12, 4, 32, 64, "gelu", 6)
    shapes = Shapes(teacher, replace(teacher, num_hidden_layers=4, num_decoder_layers=3))
    for name, ours, theirs in (
        ("hidden", (1, 2, 3, 4), (3, 6, 9, 12)),
        ("decoder-hidden", (1, 2, 3), (2, 4, 6)),
        ("encoder-output", (4,), (12,)),
        ("decoder-embeddings", (0,), (0,)),
    ):
        kind = LOSSES[name]
        options = kind.Options(mapping="evenly")
        requests = kind.student_request(shapes, options), kind.teacher_request(shapes, options)
        found = [tuple(sorted(state.layer for state in one.states)) for one in requests]
        assert found == [ours, theirs], name
    cross = LOSSES["cross-attention"]
    asked = cross.student_request(shapes, cross.Options(mapping="evenly")).states
    assert asked == attention_states(1, 2, 3, kinds=("query", "key"), place="cross")


@pytest.mark.parametrize("name", DECODERS)
def test_a_teacher_without_a_decoder_is_refused(name: str) -> None:
    encoder = Architecture(4, 4, 32, 64, "gelu")
    kind = LOSSES[name]
    problem = kind.problem(kind.Options(), encoder, [encoder])
    assert problem == (f"the loss {name} compares decoders, and the teacher has none; leave it out")


def test_other_heads_of_the_decoder_are_refused() -> None:
    teacher = Architecture(4, 4, 32, 64, "gelu", 4)
    student = replace(teacher, decoder_attention_heads=2)
    for name in ("decoder-attention", "cross-attention"):
        kind = LOSSES[name]
        problem = kind.problem(kind.Options(), teacher, [student])
        assert problem and problem.startswith(f"the loss {name} compares 4 heads of the teacher")
    kind = LOSSES["attention"]
    assert kind.problem(kind.Options(), teacher, [student]) is None


def test_names_of_states_survive_the_disk() -> None:
    for state in (
        State("hidden", 3),
        State("hidden", 12, "decoder"),
        State("key", 1, "cross"),
        State("query", 1, "cross"),
    ):
        assert State.parse(str(state)) == state
    assert str(State("hidden", 3)) == "hidden-03"
    assert [State(kind, 1, "cross").of_decoder for kind in ("query", "key", "value")] == [
        True,
        False,
        False,
    ]
