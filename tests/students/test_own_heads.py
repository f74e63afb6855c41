"""Students of teachers whose heads together are not as wide as the hidden size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny import small_config
from support.tiny_pairs import PAD, pair_batch, pair_data, tiny_pair
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from kdnas.distillation.forward import forward
from kdnas.distillation.losses import LOSSES, Shapes, TeacherStatistics
from kdnas.distillation.losses.base import Fitting, WeightedLosses
from kdnas.distillation.outputs import OutputRequest, attention_states, hidden_states
from kdnas.distillation.signals import LiveSignal
from kdnas.measure import count_macs, count_params
from kdnas.runtime.device import Runtime
from kdnas.space import Architecture, SearchSpace
from kdnas.space.arithmetic import arithmetic
from kdnas.students import build_student
from kdnas.students.checkpoint import load_student
from kdnas.students.importance import measure_importance
from kdnas.students.pruning import Kept, dense, sliced
from kdnas.students.pruning.masks import masked, masks
from kdnas.teachers.load import Teacher
from kdnas.teachers.store import build_store, store_bytes

GATED = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
# Heads of 24 and of 64 dimensions in a hidden size of 32.
PAIRS: list[tuple[str, dict[str, Any]]] = [
    ("t5", {**GATED, "num_heads": 3}),
    ("t5", {**GATED, "d_kv": 16}),
    ("mt5", {"num_heads": 3}),
]
ENCODERS: list[tuple[str, dict[str, Any]]] = [
    ("eurobert", {"head_dim": 16}),
    ("gte", {"head_dim": 4}),
    ("nomic_bert", {"head_dim": 16}),
]
TOKENS = torch.arange(5, 23).view(2, 9)
BIAS = "relative_attention_bias"


def small_model(model_type: str, changes: dict[str, Any]) -> PreTrainedModel:
    """A teacher of either kind, in evaluation mode."""
    if "t5" in model_type:
        return tiny_pair(model_type, **changes)
    torch.manual_seed(0)
    config = small_config(model_type, **changes)
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config).eval()
    return model


def shape_of(model: PreTrainedModel) -> Architecture:
    return SearchSpace.from_teacher(model.config, "t").teacher


def answers(model: PreTrainedModel) -> Tensor:
    if model.config.is_encoder_decoder:
        found = forward(model, pair_batch(), OutputRequest(logits=True)).logits
        assert found is not None
        return found
    logits: Tensor = model(TOKENS).logits
    return logits


@pytest.mark.parametrize(("model_type", "changes"), PAIRS + ENCODERS)
def test_a_student_of_the_teachers_shape_says_what_it_says(
    model_type: str, changes: dict[str, Any], runtime: Runtime
) -> None:
    teacher = small_model(model_type, changes)
    known = [None]
    if teacher.config.is_encoder_decoder:
        known = [None, measure_importance(teacher, [pair_batch()], runtime)]
    for importance in known:
        student = build_student(teacher, shape_of(teacher), importance=importance, seed=1)
        torch.testing.assert_close(answers(student), answers(teacher), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("model_type", "changes"), PAIRS + ENCODERS)
def test_students_of_fewer_heads_and_narrower_run_and_reload(
    model_type: str, changes: dict[str, Any], runtime: Runtime, tmp_path: Path
) -> None:
    teacher = small_model(model_type, changes)
    own = shape_of(teacher)
    known = None
    if teacher.config.is_encoder_decoder:
        known = measure_importance(teacher, [pair_batch()], runtime)
    for heads, hidden in ((own.num_attention_heads, 12), (2, 32), (1, 20), (2, 2 * own.head_size)):
        if hidden > own.hidden_size:
            continue
        shape = replace(own, num_attention_heads=heads, hidden_size=hidden, num_hidden_layers=3)
        shape = replace(shape, own_head_size=own.head_size)
        assert shape.fits(own)
        for importance in (None, known):
            student = build_student(teacher, shape, importance=importance, seed=1)
            assert answers(student).isfinite().all()
        drawn = build_student(teacher, shape, inherit=False, seed=1).state_dict()
        for name, value in student.named_parameters():
            constant = value.std() == 0
            assert constant or not torch.equal(value, drawn[name]), name
        assert count_params(student) < count_params(teacher)
        student.save_pretrained(tmp_path)
        again = load_student(tmp_path)
        assert torch.equal(answers(again), answers(student)) and shape_of(again) == shape


@pytest.mark.parametrize(("model_type", "changes"), [PAIRS[0], PAIRS[1], ENCODERS[0]])
def test_heads_are_taken_whole(model_type: str, changes: dict[str, Any]) -> None:
    """The loudest two, in all of their maps; T5's have their bias with them."""
    teacher = small_model(model_type, changes)
    own, loud = shape_of(teacher), (0, 2)
    ends = ("q", "k", "v", "q_proj", "k_proj", "v_proj")
    with torch.no_grad():
        for name, value in teacher.named_parameters():
            if name.split(".")[-2] in ends and name.endswith("weight"):
                by_head = value.view(own.num_attention_heads, own.head_size, -1)
                by_head[[n for n in range(own.num_attention_heads) if n not in loud]] *= 0.01
    student = build_student(teacher, replace(own, num_attention_heads=2))
    theirs, seen = teacher.state_dict(), 0
    for name, value in student.state_dict().items():
        if BIAS in name:
            expected = theirs[name][:, list(loud)]
        elif name.split(".")[-2] in ends:
            by_head = theirs[name].view(own.num_attention_heads, own.head_size, -1)
            expected = by_head[list(loud)].view_as(value)
            seen += 1
        else:
            continue
        assert torch.equal(value, expected), name
    assert seen


@pytest.mark.parametrize("changes", [{"num_heads": 3}, {"d_kv": 16}])
def test_sizes_and_arithmetic_are_those_that_are_counted(changes: dict[str, Any]) -> None:
    """Weights of the layers; each multiplies once a token, and scores and values twice a pair."""
    teacher = tiny_pair("t5", **changes)
    own = shape_of(teacher)
    for shape in (own, replace(own, num_attention_heads=2, hidden_size=20, num_hidden_layers=3)):
        student = build_student(teacher, shape)
        layers = [
            module.weight.numel()
            for name, module in student.named_modules()
            if isinstance(module, nn.Linear) and name != "lm_head"
        ]
        assert sum(layers) == arithmetic(shape)
        length, written = 7, 5
        encoder, decoder = shape.stacks
        maps = 2 * shape.hidden_size * shape.heads_width  # two of an attention's four
        neurons = 2 * shape.hidden_size * shape.intermediate_size
        macs = encoder.num_hidden_layers * length * (2 * maps + neurons)
        macs += decoder.num_hidden_layers * (written * (3 * maps + neurons) + length * maps)
        pairs = encoder.num_hidden_layers * length**2
        pairs += decoder.num_hidden_layers * written * (written + length)
        macs += 2 * shape.heads_width * pairs + written * shape.hidden_size * 100
        assert count_macs(student, length, written) == macs


@pytest.mark.parametrize(("model_type", "changes"), PAIRS[:2])
def test_states_of_heads_survive_a_store(
    model_type: str, changes: dict[str, Any], runtime: Runtime, tmp_path: Path
) -> None:
    """They are wider or narrower than the hidden states beside them."""
    model = tiny_pair(model_type, **changes)
    teacher, data = Teacher("tiny", model, _Tokens(), has_head=True), pair_data()
    states = hidden_states((4,)) | attention_states(2) | attention_states(1, place="cross")
    store = build_store(tmp_path / "store", teacher, data, states, runtime)
    width = shape_of(model).heads_width
    assert {s.shape[1] for state, s in store.states.items() if state.kind != "hidden"} == {width}
    files = sum(file.stat().st_size for file in (tmp_path / "store").glob("*.f16"))
    top = store_bytes(teacher, data, ())
    assert store_bytes(teacher, data, states) - top == files


class _Tokens:
    pad_token_id = PAD


def statistics_of(teacher: PreTrainedModel) -> TeacherStatistics:
    found = []
    for place, stack in zip(("encoder", "decoder"), shape_of(teacher).stacks, strict=True):
        layers = range(stack.num_hidden_layers + 1)
        output = forward(teacher, pair_batch(), OutputRequest(hidden_states(layers, place)))  # type: ignore[arg-type]
        states = [output.hidden(layer, place).detach() for layer in layers]  # type: ignore[arg-type]
        variances = torch.stack([s.var(0, correction=0) for s in states])
        found.append((torch.stack([s.mean(0) for s in states]), variances))
    return TeacherStatistics(*found[0], decoder=found[1])


@pytest.mark.parametrize("name", ["hidden", "relations", "decoder-relations", "attention",
                                  "decoder-attention", "cross-attention"])  # fmt: skip
@pytest.mark.parametrize(("model_type", "changes"), PAIRS[:2])
def test_every_loss_learns_from_such_heads(
    name: str, model_type: str, changes: dict[str, Any], runtime: Runtime
) -> None:
    teacher, batch = tiny_pair(model_type, **changes), pair_batch()
    own = shape_of(teacher)
    heads = own.num_attention_heads if "attention" in name else 2
    shape = replace(own, num_attention_heads=heads, hidden_size=20, num_hidden_layers=2)
    student = build_student(teacher, shape, inherit=False).train(False)
    kind = LOSSES[name]
    options = kind.Options(mapping="evenly") if "mapping" in kind.Options.model_fields else None
    assert kind.problem(options or kind.Options(), own, [shape]) is None
    loss = kind(Shapes(own, shape), options, statistics_of(teacher))
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


def test_relation_heads_divide_the_width_of_all_heads() -> None:
    kind, own = LOSSES["relations"], Architecture(4, 3, 32, 64, "relu", own_head_size=8)
    problem = kind.problem(kind.Options(relation_heads=5), own, [own])
    assert problem and problem.startswith("relation_heads 5 does not divide the width of all heads")
    assert kind.problem(kind.Options(relation_heads=4), own, [replace(own, hidden_size=20)]) is None


@pytest.mark.parametrize(("model_type", "changes"), ENCODERS)
@torch.no_grad()
def test_pruned_forms_answer_alike(model_type: str, changes: dict[str, Any]) -> None:
    model = small_model(model_type, changes)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.normal_(std=0.3)
    kept = Kept.of([[0, 2, 3], [], [1]], [range(8, 40), range(3, 64, 2), []])
    with masked(model, masks(model, kept, torch.device("cpu"))):
        expected = answers(model)
    small = sliced(model, kept)
    torch.testing.assert_close(answers(small), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(answers(dense(small)), expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(expected, answers(model), atol=1e-3)
