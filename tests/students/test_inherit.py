"""Students of every family: exact copies at the teacher's shape, valid at any other."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import small_config
from safetensors.torch import load_file
from support.tiny_pairs import tiny_pair
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from kdnas.errors import KdnasError
from kdnas.measure import InTorch, LatencySettings, count_macs, count_params, measure_latency
from kdnas.space import FAMILIES, Architecture, SearchSpace, family_of
from kdnas.space.derivation import teacher_architecture
from kdnas.students import build_student
from kdnas.students.checkpoint import load_student
from kdnas.students.chosen import head_rows
from kdnas.students.importance import Importance

DISENTANGLED = {"relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"]}
VARIANTS = [(name, {}) for name in sorted(FAMILIES)] + [
    ("deberta-v2", {**DISENTANGLED, "share_att_key": False, "norm_rel_ebd": "layer_norm"}),
    ("deberta-v2", {**DISENTANGLED, "attention_head_size": 8}),
    ("deberta", {**DISENTANGLED, "max_relative_positions": 16}),
    ("electra", {"embedding_size": 32}),
    ("deberta", {"embedding_size": 32}),
    ("deberta-v2", {"embedding_size": 32}),
    ("deberta-v2", {"embedding_size": 20}),
    ("modernbert", {"norm_bias": True, "attention_bias": True, "mlp_bias": True}),
    ("albert", {"embedding_size": 16}),
]
TOKENS = torch.arange(5, 23).view(2, 9)


def small_teacher(model_type: str, changes: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(
        small_config(model_type, **changes)
    ).eval()


@pytest.mark.parametrize(("model_type", "changes"), VARIANTS)
def test_a_student_of_the_teachers_shape_is_an_exact_copy(
    model_type: str, changes: dict[str, Any]
) -> None:
    teacher = small_teacher(model_type, changes)
    space = SearchSpace.from_teacher(teacher.config, model_type)
    student = build_student(teacher, space.teacher, seed=1)
    torch.testing.assert_close(student(TOKENS).logits, teacher(TOKENS).logits, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("model_type", "changes"), VARIANTS)
def test_smaller_students_run_inherit_everything_and_reload(
    model_type: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    teacher = small_teacher(model_type, changes)
    for architecture in (
        Architecture(1, 1, 8, 16, "relu"),
        Architecture(2, 2, 32, 64, "gelu"),
        Architecture(3, 4, 24, 33, "relu"),
    ):
        student = build_student(teacher, architecture, seed=1)
        drawn = build_student(teacher, architecture, inherit=False, seed=1).state_dict()
        for name, value in student.named_parameters():
            assert not value.requires_grad or not (
                value.std() > 0 and torch.equal(value, drawn[name])
            ), name
        assert count_params(student) <= count_params(teacher)
        assert student(TOKENS).logits.isfinite().all()
    assert 0 < count_macs(student, 9) < count_macs(teacher, 9)
    student.save_pretrained(tmp_path / model_type)
    again = load_student(tmp_path / model_type)
    assert torch.equal(again(TOKENS).logits, student(TOKENS).logits)


def test_only_the_five_fields_differ_from_the_teachers_config() -> None:
    teacher = small_teacher("roberta", {"layer_norm_eps": 1e-5, "type_vocab_size": 1})
    student = build_student(teacher, Architecture(1, 2, 16, 16, "relu"))
    theirs, ours = teacher.config.to_dict(), student.config.to_dict()
    changed = {k for k in theirs if theirs[k] != ours[k]}
    assert changed - {"dtype"} == {
        "num_hidden_layers",
        "num_attention_heads",
        "hidden_size",
        "intermediate_size",
        "hidden_act",
    }


def test_a_tensor_that_does_not_fit_is_refused_instead_of_staying_random() -> None:
    teacher = small_teacher("bert", {})
    teacher.bert.embeddings.word_embeddings = torch.nn.Embedding(300, 32)  # the config says 200
    with pytest.raises(KdnasError, match=r"word_embeddings.weight has shape \(300, 16\), expected"):
        build_student(teacher, Architecture(2, 2, 16, 32, "gelu"))
    teacher = small_teacher("bert", {})
    del teacher.bert.embeddings.LayerNorm.bias
    teacher.bert.embeddings.LayerNorm.bias = None
    with pytest.raises(KdnasError, match="LayerNorm.bias is missing in the teacher"):
        build_student(teacher, Architecture(2, 2, 16, 32, "gelu"))


def test_a_head_of_other_classes_stays_as_it_was_drawn() -> None:
    teacher = small_teacher("bert", {})
    teacher.classifier = torch.nn.Linear(32, 7)
    shape, deviation = Architecture(2, 2, 16, 32, "gelu"), teacher.config.initializer_range
    first, again, other = (build_student(teacher, shape, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.classifier.weight, again.classifier.weight)
    assert not torch.equal(first.classifier.weight, other.classifier.weight)
    assert 0.5 * deviation < first.classifier.weight.std() < 2 * deviation
    assert not first.classifier.bias.any()


@pytest.fixture
def unwritten_is_nan(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Memory that no weight was written to holds no number, in place of whatever was there."""
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


@pytest.mark.parametrize(("model_type", "changes"), VARIANTS)
def test_what_is_not_taken_from_the_teacher_is_drawn(
    model_type: str, changes: dict[str, Any], unwritten_is_nan: None
) -> None:
    teacher = small_teacher(model_type, changes)
    student = build_student(teacher, Architecture(1, 1, 8, 16, "relu"))
    for name, value in (*student.state_dict().items(), *student.named_buffers()):
        assert value.isfinite().all(), name


@pytest.mark.parametrize("model_type", ["bart", "marian", "t5", "encoder-decoder"])
def test_pairs_draw_nothing_but_have_every_weight(model_type: str, unwritten_is_nan: None) -> None:
    teacher = tiny_pair(model_type)
    shape = teacher_architecture(teacher.config, family_of(model_type, model_type))
    student = build_student(teacher, replace(shape, num_hidden_layers=1, num_decoder_layers=1))
    for name, value in (*student.state_dict().items(), *student.named_buffers()):
        assert value.isfinite().all(), name


def test_heads_are_whole_teacher_heads_cut_to_size() -> None:
    large = Architecture(1, 3, 12, 4, "gelu")
    importance = torch.tensor([0.0, 1, 2, 3, 9, 9, 9, 9, 5, 0, 0, 5])
    rows = head_rows(importance, large, Architecture(1, 2, 4, 4, "gelu"))
    assert rows.tolist() == [4, 5, 8, 11]
    whole = head_rows(importance, large, large)
    assert whole.tolist() == list(range(12))


def test_layers_that_share_a_bias_for_each_head_keep_the_same_heads() -> None:
    teacher = small_teacher("mpnet", {"num_hidden_layers": 4})
    layers = teacher.mpnet.encoder.layer
    with torch.no_grad():
        teacher.mpnet.encoder.relative_attention_bias.weight.copy_(torch.arange(4.0).expand(32, 4))
        # The first layer, which is not inherited, would keep heads 0 and 1, the last one 0 and 3.
        for layer, loud in ((0, (0, 1)), (1, (1, 3)), (3, (0, 3))):
            rows = torch.zeros(4, 8)
            rows[list(loud)] = 1.0 if layer != 3 else torch.tensor([[0.5], [3.0]])
            layers[layer].attention.attn.v.weight.mul_(rows.flatten()[:, None])
            layers[layer].attention.attn.q.weight.mul_(rows.flatten()[:, None])
    student = build_student(teacher, Architecture(2, 2, 16, 64, "gelu"))
    assert student.mpnet.encoder.relative_attention_bias.weight[0].tolist() == [1.0, 3.0]
    own = build_student(teacher, Architecture(2, 2, 16, 64, "gelu"), seed=1)
    assert torch.equal(
        own.mpnet.encoder.layer[1].attention.attn.q.weight,
        student.mpnet.encoder.layer[1].attention.attn.q.weight,
    )


def moved_off_the_grid(model: Any) -> Any:
    """The same model with its tensors where a file mapped into memory may put them."""
    other = copy.deepcopy(model)
    for parameter in other.parameters():
        room = torch.empty(parameter.numel() + 1)
        room[1:] = parameter.detach().flatten()
        parameter.data = room[1:].view(parameter.shape)
    return other


def test_where_the_teachers_weights_lie_in_memory_does_not_matter() -> None:
    teacher = small_teacher("bert", {})
    moved = moved_off_the_grid(teacher)
    layers = [f"bert.encoder.layer.{i}" for i in range(3)]
    states = torch.randn(500, 32)
    rows, neurons = ({layer: torch.rand(n) for layer in layers} for n in (32, 64))
    importance = Importance(states.T @ states, rows, neurons, neurons)
    expected, found = (
        build_student(m, Architecture(2, 2, 16, 32, "gelu"), importance=importance).state_dict()
        for m in (teacher, moved)
    )
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_queries_of_positions_keep_the_temperature_too() -> None:
    teacher = small_teacher("deberta-v2", {**DISENTANGLED, "share_att_key": False})
    name = "deberta.encoder.layer.2.attention.self.pos_query_proj.weight"
    with torch.no_grad():
        teacher.get_parameter(name).copy_(torch.eye(32))
    student = build_student(teacher, Architecture(3, 4, 16, 64, "gelu"))
    norms = student.get_parameter(name).norm(dim=1)
    whole = build_student(teacher, Architecture(3, 4, 32, 64, "gelu")).get_parameter(name)
    assert torch.equal(whole, torch.eye(32))
    assert 0 < norms.max() <= 0.5**0.5 + 1e-6


def mapped(weights: Path, model_type: str) -> Any:
    """MiniLM's weights in another family's class; tables that differ in size are drawn."""
    source = load_file(weights / "model.safetensors")
    family = family_of(model_type, model_type)
    bert = AutoConfig.from_pretrained(weights)
    config = AutoConfig.for_model(model_type, vocab_size=bert.vocab_size, pad_token_id=0)
    for name in ("num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size"):
        setattr(config, family.field_name(name), getattr(bert, name))
    if model_type == "electra":
        config.embedding_size = bert.hidden_size
    torch.manual_seed(0)
    model = AutoModel.from_config(config)
    renamed = {_renamed(k, model_type): v for k, v in source.items()}
    own = model.state_dict()
    fitting = {k: v for k, v in renamed.items() if k in own and own[k].shape == v.shape}
    assert sum(k in fitting for k in own if ".layer." in k) == 6 * 16
    model.load_state_dict({**own, **fitting})
    return model


def _renamed(name: str, model_type: str) -> str:
    if model_type != "distilbert":
        return name
    pairs = {
        "encoder.layer": "transformer.layer",
        "attention.self.query": "attention.q_lin",
        "attention.self.key": "attention.k_lin",
        "attention.self.value": "attention.v_lin",
        "attention.output.dense": "attention.out_lin",
        "attention.output.LayerNorm": "sa_layer_norm",
        "intermediate.dense": "ffn.lin1",
        "output.dense": "ffn.lin2",
        "output.LayerNorm": "output_layer_norm",
    }
    for old, new in pairs.items():
        name = name.replace(old, new)
    return name


@pytest.mark.slow
@pytest.mark.parametrize("model_type", ["bert", "roberta", "electra", "distilbert"])
def test_real_weights_in_every_family(model_type: str, minilm: Path, tmp_path: Path) -> None:
    mapped(minilm, model_type).save_pretrained(tmp_path)
    teacher = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    space = SearchSpace.from_teacher(teacher.config, model_type)
    assert len(space.architectures) == 6 * 4 * 8 * 4 * 2
    copy = build_student(teacher, space.teacher)
    tokens = torch.tensor([[101, 2023, 2143, 2003, 2307, 102]])
    torch.testing.assert_close(copy(tokens).logits, teacher(tokens).logits, atol=1e-5, rtol=0)
    half = build_student(teacher, Architecture(3, 12, 192, 768, "gelu"))
    latency = measure_latency(InTorch(half), InTorch(teacher), LatencySettings(1, 32, 5))
    assert latency.speedup > 1.2
