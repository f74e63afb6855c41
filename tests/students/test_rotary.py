"""Students of encoders with rotary positions, local attention, and no biases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import small_config
from transformers import AutoConfig, AutoModelForSequenceClassification

from kdnas.space import Architecture
from kdnas.students import build_student
from kdnas.students.chosen import rotary_rows

TOKENS = torch.arange(5, 35).view(2, 15)


def teacher_of(model_type: str = "modernbert", **changes: Any) -> Any:
    torch.manual_seed(0)
    config = small_config(model_type, **changes)
    return AutoModelForSequenceClassification.from_config(config).eval()


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [("halves", [8, 10, 12, 14, 16, 18, 20, 22]), ("neighbours", [8, 9, 12, 13, 16, 17, 20, 21])],
)
def test_a_narrower_head_keeps_pairs_that_turn_as_fast(pairs: Any, expected: list[int]) -> None:
    large, small = Architecture(1, 4, 32, 64, "gelu"), Architecture(1, 2, 8, 64, "gelu")
    importance = torch.zeros(32)
    importance[8:24] = torch.tensor([9.0, 1, 1, 1, 1, 9, 9, 9] * 2)
    rows, values = rotary_rows(importance, large, small, pairs)
    assert rows.tolist() == expected
    assert values.tolist() == [8, 13, 14, 15, 16, 21, 22, 23]
    whole = torch.arange(32).tolist()
    assert [r.tolist() for r in rotary_rows(importance, large, large, pairs)] == [whole, whole]


def test_a_wider_head_joins_whole_ones() -> None:
    large, small = Architecture(1, 4, 16, 64, "gelu"), Architecture(1, 2, 16, 64, "gelu")
    rows, values = rotary_rows(torch.ones(16), large, small, "halves")
    # Pairs (0, 2) and (1, 3) of heads 0 and 1, the fast ones first.
    assert rows[:8].tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
    assert values.tolist() == list(range(16))


def test_the_pairs_that_are_kept_turn_as_in_the_teacher() -> None:
    teacher = teacher_of()
    student = build_student(teacher, Architecture(3, 4, 16, 64, "gelu"))
    ours, theirs = (m.model.rotary_emb.full_attention_inv_freq for m in (student, teacher))
    torch.testing.assert_close(ours, theirs[[0, 2]])


def test_layers_keep_the_attention_of_those_they_come_from() -> None:
    kinds = ["full_attention", *["sliding_attention"] * 2] * 2 + ["full_attention"]
    teacher = teacher_of(num_hidden_layers=7, layer_types=kinds)
    found = {}
    for depth in (1, 2, 3, 4, 7):
        student = build_student(teacher, Architecture(depth, 4, 32, 64, "gelu"))
        found[depth] = "".join(kind[0] for kind in student.config.layer_types)
        whole = student.model.layers[-1].mlp.Wi.weight
        assert torch.equal(whole, teacher.model.layers[-1].mlp.Wi.weight)
    assert found == {1: "f", 2: "sf", 3: "sff", 4: "fssf", 7: "fssfssf"}


def test_students_of_configs_as_on_the_hub_keep_their_pattern(tmp_path: Path) -> None:
    given = {"global_attn_every_n_layers": 2, "local_attention": 8, "global_rope_theta": 5e4}
    shape = {"num_hidden_layers": 5, "num_attention_heads": 4, "hidden_size": 32, "vocab_size": 200}
    found = {"model_type": "modernbert", "intermediate_size": 64, "pad_token_id": 0}
    (tmp_path / "config.json").write_text(json.dumps({**given, **shape, **found}))
    config = AutoConfig.from_pretrained(tmp_path)
    teacher = AutoModelForSequenceClassification.from_config(config).eval()
    student = build_student(teacher, Architecture(3, 2, 16, 32, "gelu"))
    student.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert [kind[0] for kind in again.config.layer_types] == ["f", "f", "f"]
    assert again.config.rope_parameters["full_attention"]["rope_theta"] == 5e4
    torch.testing.assert_close(again(TOKENS).logits, student(TOKENS).logits, atol=0, rtol=0)


def test_the_first_layer_takes_the_gain_of_the_norm_that_it_lacks() -> None:
    teacher = teacher_of()
    layer = teacher.model.layers[2]
    torch.nn.init.uniform_(layer.attn_norm.weight, 0.5, 2)
    student = build_student(teacher, Architecture(1, 4, 32, 64, "gelu"))
    found = student.model.layers[0].attn.Wqkv.weight
    torch.testing.assert_close(found, layer.attn.Wqkv.weight * layer.attn_norm.weight)


def test_gates_stay_with_their_neurons() -> None:
    teacher = teacher_of()
    with torch.no_grad():
        for layer in teacher.model.layers:
            layer.mlp.Wo.weight[:, ::2] = 0
    student = build_student(teacher, Architecture(3, 4, 32, 32, "gelu"))
    torch.testing.assert_close(student(TOKENS).logits, teacher(TOKENS).logits, atol=1e-6, rtol=0)


def test_the_window_of_these_tests_matters() -> None:
    teacher = teacher_of()
    with torch.no_grad():
        for weights in teacher.parameters():
            weights.mul_(3)
    wide = AutoModelForSequenceClassification.from_config(small_config("modernbert")).eval()
    wide.load_state_dict(teacher.state_dict())
    for layer in wide.model.layers:
        layer.attn.sliding_window = None
    wide.config.local_attention = 128
    assert (wide(TOKENS).logits - teacher(TOKENS).logits).abs().max() > 1e-3
