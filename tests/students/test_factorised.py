"""Students whose token embeddings are a narrow table and a map to the hidden size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.tiny import small_config, small_tokenizer
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from kdnas.errors import KdnasError
from kdnas.measure import count_macs, count_params
from kdnas.space import FAMILIES, Architecture
from kdnas.students import build_student
from kdnas.students.factorised import embedding_moments
from kdnas.students.vocabulary.vocabulary import cut_vocabulary

# Teachers with a table as wide as their hidden states, and with a narrower one that is mapped.
TEACHERS: list[tuple[str, dict[str, Any]]] = [
    ("albert", {"embedding_size": 32}),
    ("albert", {"embedding_size": 16}),
    ("deberta", {}),
    ("deberta", {"embedding_size": 20}),
    ("deberta-v2", {"type_vocab_size": 2}),
    ("deberta-v2", {"embedding_size": 20}),
    ("electra", {"embedding_size": 32}),
    ("electra", {"embedding_size": 16}),
    ("rembert", {"input_embedding_size": 16}),
    ("roformer", {"embedding_size": 32}),
    ("roformer", {"embedding_size": 20}),
]
TOKENS = torch.arange(5, 23).view(2, 9)
RANK = 5


def teacher_of(model_type: str, changes: dict[str, Any], rank: int | None = None) -> Any:
    """A teacher whose weights are not as drawn; of a rank, its tables have it together."""
    return _made(model_type, tuple(changes.items()), rank)


@cache
def _made(model_type: str, changes: tuple[tuple[str, Any], ...], rank: int | None) -> Any:
    torch.manual_seed(0)
    config = small_config(model_type, **dict(changes))
    model = AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(5) if value.ndim == 2 else value.add_(0.3 * torch.randn(value.shape))
        common: Tensor | None = None
        for table in tables_of(model):
            count, width = table.shape
            common = torch.randn(rank or width, width) if common is None else common
            table.copy_(0.3 * torch.randn(count, rank or width) @ common)
    return model


def tables_of(model: PreTrainedModel) -> Iterator[Tensor]:
    """Of words, positions and segments."""
    for module in model.base_model.embeddings.children():
        if isinstance(module, nn.Embedding):
            yield module.weight


def shape(width: int, size: int = 0) -> Architecture:
    return Architecture(2, 2, width, 64, "gelu", embedding_size=size)


def test_every_family_that_has_a_map_is_tried() -> None:
    assert {t for t, _ in TEACHERS} == {n for n, f in FAMILIES.items() if f.embedding_map}


@pytest.mark.parametrize(("model_type", "changes"), TEACHERS)
def test_a_table_wide_enough_for_its_rank_loses_nothing(
    model_type: str, changes: dict[str, Any]
) -> None:
    teacher = teacher_of(model_type, changes, RANK)
    for width, size in ((24, RANK + 1), (32, 12)):  # a norm takes one dimension
        whole = build_student(teacher, shape(width))(TOKENS).logits
        student = build_student(teacher, shape(width, size), seed=1)
        assert {table.shape[1] for table in tables_of(student)} == {size}
        torch.testing.assert_close(student(TOKENS).logits, whole, atol=1e-4, rtol=0)
    narrow = build_student(teacher, shape(width, 3))
    assert not torch.allclose(narrow(TOKENS).logits, whole, atol=1e-3)


@pytest.mark.parametrize("changes", [{}, {"embedding_size": 20}])
def test_it_is_the_best_factorisation_of_the_narrow_students_table(
    changes: dict[str, Any],
) -> None:
    """Singular vectors times singular values, and the others in the map: no error is smaller."""
    words_alone = {"position_biased_input": False, "type_vocab_size": 0}
    teacher = teacher_of("deberta-v2", {**changes, **words_alone})
    whole = build_student(teacher, shape(24)).deberta.embeddings
    wanted = whole.word_embeddings.weight.detach().double()
    if whole.embed_proj is not None:
        wanted = wanted @ whole.embed_proj.weight.detach().double().T
    made = build_student(teacher, shape(24, 6)).deberta.embeddings
    table, projection = (m.weight.detach() for m in (made.word_embeddings, made.embed_proj))
    left, strength, right = torch.linalg.svd(wanted, full_matrices=False)
    best = (left[:, :6] * strength[:6]) @ right[:6]
    torch.testing.assert_close((table @ projection.T).double(), best, atol=1e-5, rtol=0)
    torch.testing.assert_close(projection.T @ projection, torch.eye(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(table.norm(dim=0).double(), strength[:6], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(("model_type", "changes"), TEACHERS)
def test_wider_tables_come_nearer(model_type: str, changes: dict[str, Any]) -> None:
    teacher = teacher_of(model_type, changes)
    whole = build_student(teacher, shape(32))
    errors = []
    for size in (4, 15):
        student = build_student(teacher, shape(32, size))
        with torch.no_grad():
            ours, theirs = (
                m.base_model(TOKENS, output_hidden_states=True).hidden_states[0]
                for m in (student, whole)
            )
        errors.append(float((ours - theirs).norm() / theirs.norm()))
    assert errors[1] < 0.8 * errors[0]


@pytest.mark.parametrize(("model_type", "changes"), TEACHERS)
def test_what_is_counted_and_saved(
    model_type: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    teacher = teacher_of(model_type, changes)
    size, width = 6, 28
    student = build_student(teacher, shape(width, size), seed=1)
    other = build_student(teacher, shape(width, size - 2))
    rows = sum(len(table) for table in tables_of(student))
    norms = 0 if model_type.startswith("deberta") else 2  # a gain and a bias
    assert count_params(student) - count_params(other) == 2 * (rows + width + norms)
    assert count_macs(student, 9) - count_macs(other, 9) == 9 * 2 * width
    drawn = build_student(teacher, shape(width, size), inherit=False, seed=1).state_dict()
    for name, value in student.named_parameters():
        computed = value.std() == 0 or not value.requires_grad
        assert computed or not torch.equal(value, drawn[name]), name
    student.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert torch.equal(again(TOKENS).logits, student(TOKENS).logits)


@pytest.mark.parametrize("model_type", ["deberta-v2", "electra"])
def test_a_student_as_wide_as_the_teachers_embeddings_has_a_map(model_type: str) -> None:
    """Without factorised embeddings it has none, and such sizes are left out of the space."""
    teacher = teacher_of(model_type, {"embedding_size": 20})
    own = build_student(teacher, shape(20, 19))
    near = build_student(teacher, shape(24, 19))
    assert count_params(own) < count_params(near)
    assert own(TOKENS).logits.isfinite().all()


def test_classes_without_a_map_are_refused() -> None:
    with pytest.raises(KdnasError) as refused:
        build_student(teacher_of("roberta", {}), shape(24, 8))
    assert str(refused.value) == (
        "token embeddings of roberta are as wide as its hidden states in transformers; only "
        "students of albert, deberta, deberta-v2, electra, rembert, roformer have narrower ones"
    )


@pytest.mark.parametrize("model_type", ["electra", "deberta-v2"])
def test_a_cut_vocabulary_cuts_the_narrow_table(model_type: str) -> None:
    teacher, tokenizer = teacher_of(model_type, {}), small_tokenizer()
    student = build_student(teacher, shape(24, 8))
    counts = np.zeros(200, np.int64)
    counts[10:60] = 1
    vocabulary = cut_vocabulary("task", tokenizer, teacher.config, counts, 1)
    small = vocabulary.cut(student)
    assert small.get_input_embeddings().weight.shape == (len(vocabulary), 8)
    ours = torch.tensor([[2, *range(10, 20), 3]])
    own = torch.tensor([[vocabulary.place[int(i)] for i in ours[0]]])
    torch.testing.assert_close(small(own).logits, student(ours).logits)


def test_moments_that_are_known_are_not_found_again() -> None:
    teacher = teacher_of("electra", {"embedding_size": 32})
    asked = []

    def moments() -> Tensor:
        asked.append(1)
        return embedding_moments(teacher)

    for size in (0, 8):
        one, two = (
            build_student(teacher, shape(24, size), moments=known).state_dict()
            for known in (moments, None)
        )
        assert all(torch.equal(one[name], two[name]) for name in one)
        assert len(asked) == bool(size)


def test_one_dimension_behind_a_norm_says_nothing_but_breaks_nothing() -> None:
    teacher = teacher_of("electra", {"embedding_size": 32})
    student = build_student(teacher, replace(shape(24), embedding_size=1))
    assert student(TOKENS).logits.isfinite().all()
