"""Students of encoder-decoders: exact copies at the teacher's shape, near it at any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_pairs import VARIANTS, pair_batch, tiny_pair
from transformers import AutoModelForSeq2SeqLM, PreTrainedModel

from kdnas.distillation.batches import Batch
from kdnas.distillation.forward import forward
from kdnas.distillation.outputs import OutputRequest, hidden_states
from kdnas.runtime.device import Runtime
from kdnas.space import Architecture, SearchSpace, family_of
from kdnas.students import build_student
from kdnas.students.chosen import centred_basis, gain_in, nearest_rotation, without_mean
from kdnas.students.importance import Importance, measure_importance

WIDE = Architecture(2, 4, 32, 64, "relu", 1)
NARROW = (
    Architecture(1, 1, 8, 16, "relu", 1),
    Architecture(3, 2, 16, 33, "relu", 2),
    Architecture(4, 4, 24, 40, "relu", 3),
)


def logits(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    found = forward(model, batch, OutputRequest(logits=True)).logits
    assert found is not None
    return found


def shape_of(model: PreTrainedModel) -> Architecture:
    return SearchSpace.from_teacher(model.config, "t").teacher


@pytest.mark.parametrize(("model_type", "changes"), VARIANTS)
def test_a_student_of_the_teachers_shape_is_an_exact_copy(
    model_type: str, changes: dict[str, Any], runtime: Runtime
) -> None:
    teacher, batch = tiny_pair(model_type, **changes), pair_batch()
    for importance in (None, measure_importance(teacher, [batch], runtime)):
        student = build_student(teacher, shape_of(teacher), importance=importance, seed=1)
        found = logits(student, batch), logits(teacher, batch)
        torch.testing.assert_close(*found, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("model_type", "changes"), VARIANTS)
def test_smaller_students_inherit_everything_and_reload(
    model_type: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    teacher, batch = tiny_pair(model_type, **changes), pair_batch()
    few = {"decoder_attention_heads": 1, "decoder_intermediate_size": 12}
    few = few if "decoder_attention_heads" in changes else {}
    for architecture in (replace(shape, **few) for shape in (WIDE, *NARROW)):
        student = build_student(teacher, architecture, seed=1)
        drawn = build_student(teacher, architecture, inherit=False, seed=1).state_dict()
        for name, value in student.named_parameters():
            same = value.shape == drawn[name].shape and torch.equal(value, drawn[name])
            assert not value.requires_grad or not same, name
        assert logits(student, batch).isfinite().all()
    student.save_pretrained(tmp_path / "student")
    again = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "student").eval()
    assert torch.equal(logits(again, batch), logits(student, batch))
    assert shape_of(again) == replace(NARROW[-1], **few)


@pytest.mark.parametrize(("model_type", "changes"), VARIANTS)
def test_a_wide_student_has_the_teachers_layers_evenly_spread(
    model_type: str, changes: dict[str, Any]
) -> None:
    """Encoder 4 -> 3 takes layers 1, 2 and 4, decoder 3 -> 2 takes 1 and 3; the rest is copied."""
    teacher = tiny_pair(model_type, **changes)
    own = shape_of(teacher)
    student = build_student(teacher, replace(own, num_hidden_layers=3, num_decoder_layers=2))
    taken = {"encoder": (0, 1, 3), "decoder": (0, 2)}
    theirs = teacher.state_dict()
    for name, value in student.state_dict().items():
        source = name
        for side, layers in taken.items():
            for ours, layer in enumerate(layers):
                for stack in (f"{side}.layers", f"{side}.block", f"{side}.encoder.layer"):
                    if f"{stack}.{ours}." in name:
                        source = name.replace(f"{stack}.{ours}.", f"{stack}.{layer}.")
                if side == "decoder" and ".encoder.layer." in name and name.startswith(side):
                    found = int(name.split(".encoder.layer.")[1].split(".")[0])
                    source = name.replace(f"layer.{found}.", f"layer.{layers[found]}.")
        if "relative_attention_bias" in name:
            source = name
        assert torch.equal(value, theirs[source]), name


@torch.no_grad()
def with_room(model: PreTrainedModel) -> PreTrainedModel:
    """The same with nothing in the last eighth of its stream's dimensions and of each head's."""
    writes = ("out_proj", "fc2", "output.dense", ".o", ".wo")
    for name, parameter in model.named_parameters():
        module, _, kind = name.rpartition(".")
        path = f".{module}"
        if "relative_attention_bias" in name:
            continue
        if "norm" in module.lower():
            parameter.fill_(1.0 if kind == "weight" else 0.0)
            parameter[28:] = 0
        at = family_of(model.config.model_type, "t").attention_at(name.rpartition(".")[0])
        if at and at[1].units_of(module):
            size = 32 // (2 if parameter.shape[0] == 32 and heads_of(model, at[0]) == 2 else 4)
            parameter.view(32 // size, size, -1)[:, 28 * size // 32 :] = 0
        elif any(path.endswith(end) for end in writes):
            parameter[28:] = 0
        elif parameter.ndim == 2 and ("embed" in module or "shared" in module):
            parameter[:, 28:] = 0
    return model


def heads_of(model: PreTrainedModel, place: str) -> int:
    shape = shape_of(model)
    return shape.num_attention_heads if place == "encoder" else shape.stacks[1].num_attention_heads


def likeness(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """How far the products of all pairs of states are apart: 0 for states that are but rotated."""
    grams = [x @ x.T for x in (ours, theirs)]
    one, other = (gram / gram.norm() for gram in grams)
    return float((one - other).norm())


@pytest.mark.slow
@pytest.mark.parametrize(("model_type", "changes"), [VARIANTS[i] for i in (1, 4, 7, 9, 10, 11, 14)])
@torch.no_grad()
def test_a_student_without_room_says_what_its_teacher_does(
    model_type: str, changes: dict[str, Any], runtime: Runtime
) -> None:
    """Of 32 dimensions 28 are used: states stay and, but for a head's activation, words, too."""
    teacher, batch = with_room(tiny_pair(model_type, **changes)), pair_batch()
    importance = measure_importance(teacher, [batch], runtime)
    student = build_student(
        teacher, replace(shape_of(teacher), hidden_size=28), importance=importance
    )
    wanted = OutputRequest(hidden_states((4,)) | hidden_states((3,), "decoder"), logits=True)
    ours, theirs = (forward(model, batch, wanted) for model in (student, teacher))
    far = {"t5": 1e-3, "marian": 0.25}.get(model_type, 0.15)  # T5's norms subtract no mean
    for state in wanted.states:
        assert likeness(ours.states[state], theirs.states[state]) < far, state
    if model_type != "encoder-decoder":
        said, meant = (found.logits.log_softmax(-1) for found in (ours, theirs))
        divergence = float((meant.exp() * (meant - said)).sum(-1).mean())
        assert divergence < (0.25 if model_type == "marian" else 0.05)


def test_cross_attention_reads_the_encoders_basis(runtime: Runtime) -> None:
    """Two encoders have embeddings apart, and so a basis each."""
    teacher, batch = tiny_pair("encoder-decoder"), pair_batch()
    importance = measure_importance(teacher, [batch], runtime)
    assert importance.decoder_residual is not None
    narrow = Architecture(4, 4, 16, 64, "gelu", 3)
    student = build_student(teacher, narrow, importance=importance)
    bases = [
        centred_basis(residual, 16)
        for residual in (importance.residual, importance.decoder_residual)
    ]
    assert not torch.allclose(*bases, atol=0.1)
    path = "decoder.bert.encoder.layer.{}.{}.self.{}.weight"
    for attention, unit, basis in (
        ("crossattention", "value", bases[0]),
        ("crossattention", "query", bases[1]),
        ("attention", "value", bases[1]),
    ):
        name = path.format(1, attention, unit)
        ours, theirs = (m.get_parameter(name) for m in (student, teacher))
        rotated = theirs @ basis * (0.5**0.5 if unit == "query" else 1.0)
        distance = torch.cdist(ours, rotated).min(1).values
        assert distance.max() < 5e-3, name


def test_stacks_that_share_their_embeddings_have_one_basis(runtime: Runtime) -> None:
    teacher, batch = tiny_pair("mbart"), pair_batch()
    importance = measure_importance(teacher, [batch], runtime)
    student = build_student(teacher, NARROW[1], importance=importance)
    basis = centred_basis(torch.stack(importance.residuals).mean(0), 16)
    for name in ("model.shared", "lm_head", "model.encoder.embed_positions"):
        ours, theirs = (m.get_submodule(name).weight for m in (student, teacher))
        torch.testing.assert_close(ours, theirs @ basis)
    assert student.lm_head.weight is student.model.shared.weight


def test_golden_gain_and_rotation() -> None:
    basis = torch.eye(3)[:, :1]
    assert gain_in(basis, torch.diag(torch.tensor([3.0, 2.0, 1.0]))) == pytest.approx(1.5**0.5)
    states = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    turned = torch.eye(3)[[1, 2, 0]]  # leaves the mean of three dimensions as it is
    torch.testing.assert_close(nearest_rotation(states, states @ turned), turned)


def test_a_centred_basis_keeps_means_and_what_is_left_most() -> None:
    states = torch.randn(500, 6, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    states = states * torch.tensor([5.0, 4, 3, 1e-6, 1e-6, 1e-6]) + 7
    basis = centred_basis(states.T.cov(), 4).double()
    torch.testing.assert_close(basis.T @ basis, torch.eye(4, dtype=torch.double), atol=1e-6, rtol=0)
    ours, theirs = states @ basis, states - states.mean(1, keepdim=True)
    torch.testing.assert_close(ours.mean(1) * 2, states.mean(1) * 6**0.5, atol=1e-5, rtol=1e-5)
    ours = ours - ours.mean(1, keepdim=True)
    torch.testing.assert_close(ours @ ours.T, theirs @ theirs.T, atol=1e-4, rtol=1e-4)
    assert torch.equal(without_mean(torch.ones(3, 3)), torch.zeros(3, 3, dtype=torch.double))
    assert centred_basis(states.T.cov(), 1).tolist() == [[pytest.approx(6**-0.5)]] * 6


def test_heads_of_t5_have_their_bias_with_them(runtime: Runtime) -> None:
    teacher, batch = tiny_pair("t5"), pair_batch()
    bias = "{}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    with torch.no_grad():
        for side in ("encoder", "decoder"):
            teacher.get_parameter(bias.format(side)).copy_(torch.arange(4.0).expand(32, 4))
            for number, block in enumerate(teacher.get_submodule(side).block):
                loud = torch.zeros(4, 8)
                loud[[1, 3] if side == "encoder" else [0, 2]] = 1.0
                block.layer[0].SelfAttention.v.weight.mul_(loud.flatten()[:, None])
                block.layer[0].SelfAttention.q.weight.mul_(loud.flatten()[:, None])
                assert number < 4
    for importance in (None, measure_importance(teacher, [batch], runtime)):
        student = build_student(teacher, NARROW[1], importance=importance)
        found = [student.get_parameter(bias.format(s))[0].tolist() for s in ("encoder", "decoder")]
        assert found == [[1.0, 3.0], [0.0, 2.0]]


def test_importance_of_two_stacks_survives_the_disk(tmp_path: Path, runtime: Runtime) -> None:
    importance = measure_importance(tiny_pair("bart"), [pair_batch()], runtime)
    importance.save(tmp_path / "i.safetensors")
    again = Importance.load(tmp_path / "i.safetensors")
    assert again.rows.keys() == importance.rows.keys()
    assert "model.decoder.layers.2/cross" in again.rows
    assert len(again.rows) == 4 + 2 * 3 and len(again.neurons) == 4 + 3
    assert torch.equal(again.decoder_residual, importance.decoder_residual)
    student = build_student(tiny_pair("bart"), NARROW[1], importance=again)
    other = build_student(tiny_pair("bart"), NARROW[1], importance=importance)
    assert all(map(torch.equal, student.state_dict().values(), other.state_dict().values()))


def test_importance_is_that_of_what_the_model_does(runtime: Runtime) -> None:
    """Second moments by plain transformers; padding counts nowhere."""
    teacher, batch = tiny_pair("bart"), pair_batch()
    importance = measure_importance(teacher, [batch], runtime)
    output = teacher(**batch.inputs, output_hidden_states=True)
    real = batch.inputs["attention_mask"].bool()
    places = batch.units.example, batch.units.position
    for expected, states in (
        (importance.residual, [h[real] for h in output.encoder_hidden_states]),
        (importance.decoder_residual, [h[places] for h in output.decoder_hidden_states]),
    ):
        covariances = [x.T.cov(correction=0) for x in states]
        mean = torch.stack([c / c.trace() for c in covariances]).mean(0)
        torch.testing.assert_close(expected, mean, atol=1e-5, rtol=1e-3)


def test_untied_heads_stay_apart(tmp_path: Path) -> None:
    teacher = tiny_pair("t5", tie_word_embeddings=False)
    student = build_student(teacher, WIDE)
    assert not torch.equal(student.lm_head.weight, student.shared.weight)
    assert not student.config.scale_decoder_outputs
    student.save_pretrained(tmp_path)
    again = AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval()
    assert not again.config.scale_decoder_outputs
    batch = pair_batch()
    assert torch.equal(logits(again, batch), logits(student, batch))


def test_hidden_states_need_no_head() -> None:
    batch = pair_batch()
    for model_type in ("bart", "t5", "encoder-decoder"):
        model = tiny_pair(model_type)
        wanted = OutputRequest(hidden_states((0, 3), "decoder") | hidden_states((4,)))
        plain = forward(model, batch, wanted)
        both = forward(model, batch, wanted | OutputRequest(logits=True))
        assert plain.logits is None and both.logits is not None
        for state in wanted.states:
            assert torch.equal(plain.states[state], both.states[state])
            assert len(plain.states[state]) == (
                len(batch.units) if state.of_decoder else batch.packing.count
            )
