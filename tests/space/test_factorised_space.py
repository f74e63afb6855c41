"""Spaces and given shapes with factorised token embeddings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.tiny import small_config

from kdnas.config.shape import read_shape
from kdnas.errors import KdnasError
from kdnas.space import Architecture, Candidate, Pruning, SearchSpace
from kdnas.space.given_shape import space_of_shape
from kdnas.space.known_shapes import hand_picked, known_shapes

USUAL = Architecture(6, 8, 256, 1024, "relu")
ABLE = "albert, deberta, deberta-v2, electra, rembert, roformer"
SIZES = {"embedding_size": ["teacher", 8, 4], "hidden_size": [8, 16, 32]}


def space_of(model_type: str = "electra", replaced: Any = None, **changes: Any) -> SearchSpace:
    return SearchSpace.from_teacher(small_config(model_type, **changes), model_type, replaced)


def test_a_size_that_is_not_given_is_not_spelled() -> None:
    assert "embedding_size" not in USUAL.params and "embedding_size" not in USUAL.values
    assert Candidate(USUAL).key == "97bbdaf69e72fd98"  # as ever
    narrow = replace(USUAL, embedding_size=64)
    assert narrow.params == {**USUAL.params, "embedding_size": 64}
    assert Architecture.from_params(narrow.params) == Architecture.from_params(narrow.values)
    assert Architecture.from_params(narrow.params) == narrow != USUAL
    assert Candidate(narrow).key != Candidate(USUAL).key
    assert narrow.label == "6x256 h8 f1024 e64 relu"
    assert read_shape(narrow.label) == narrow.params
    assert Architecture(0, 1, 64, 1, "relu", embedding_size=8) == Architecture(0, 1, 64, 1, "relu")
    assert replace(USUAL, num_decoder_layers=2, embedding_size=64).encoder == narrow


def test_embeddings_are_narrower_than_hidden_states() -> None:
    assert replace(USUAL, embedding_size=255).fits(USUAL)
    assert not replace(USUAL, embedding_size=256).fits(USUAL)
    assert not replace(USUAL, embedding_size=-1).fits(USUAL)


def test_by_default_nobody_chooses_them() -> None:
    space = space_of(embedding_size=32)
    assert "embedding_size" not in space.choices and "embedding_size" not in space.distributions
    assert {a.embedding_size for a in space.architectures} == {0}


def test_a_space_with_several_widths() -> None:
    space = space_of(replaced=SIZES, embedding_size=32)
    pairs = {(a.hidden_size, a.embedding_size) for a in space.architectures}
    assert pairs == {(8, 0), (8, 4), *((h, e) for h in (16, 32) for e in (0, 4, 8))}
    assert space.distributions["embedding_size"].choices == (0, 8, 4)  # type: ignore[attr-defined]
    assert space.largest == space.teacher and space.smallest.embedding_size == 4
    assert space.embedding_sizes == (8, 4)
    for candidate in space.candidates:
        params = space.params(candidate)
        assert params["embedding_size"] == candidate.architecture.embedding_size  # type: ignore[union-attr]
        assert space.is_valid(params) and space.candidate(params) == candidate
    wrong = {**space.params(space.candidates[0]), "hidden_size": 8, "embedding_size": 8}
    assert not space.is_valid(wrong)


@pytest.mark.parametrize("sizes", [["teacher", 4], [4]])
def test_others_than_dense_students_have_the_teachers(sizes: list[int | str]) -> None:
    space = space_of(replaced={**SIZES, "embedding_size": sizes}, embedding_size=32)
    space = space.with_recipes(["default"], ["static"]).with_prunings([Pruning("magnitude", 0.5)])
    for candidate in space.candidates:
        params = space.params(candidate)
        whole = candidate.pruning or candidate.architecture.num_hidden_layers == 0
        assert space.is_valid(params) and space.nearest(params) == params
        assert params["embedding_size"] in ((0,) if whole else (0, 4))
        assert space.candidate(params) == candidate
        if whole:
            assert space.nearest({**params, "embedding_size": 4}) == params


def test_the_teachers_own_width_has_one_spelling() -> None:
    space = space_of("albert", {"embedding_size": [16, 8]}, embedding_size=16)
    assert space.choices["embedding_size"] == (0, 8)
    given = read_shape("2x24-h2-e16")
    shape = space_of_shape(small_config("albert", embedding_size=16), "a", given).architectures[0]
    assert shape.embedding_size == 0


@pytest.mark.parametrize(
    ("model_type", "sizes", "message"),
    [
        ("electra", [33], "invalid space.embedding_size: 33; expected 1 to 32, the teacher's"),
        ("electra", [-1], "invalid space.embedding_size: -1; expected 1 to 32, the teacher's"),
        ("electra", ["wide"], "invalid space.embedding_size: .* expected a list of int values"),
        ("electra", [31], r"no embedding_size of \(31,\) is below a hidden_size of \(8, 16\)"),
        ("bert", [8], f"invalid space.embedding_size: .* of bert are as wide .*students of {ABLE}"),
    ],
)
def test_bad_choices_are_named(model_type: str, sizes: list[Any], message: str) -> None:
    changes = {"embedding_size": 32} if model_type == "electra" else {}
    with pytest.raises(KdnasError, match=message):
        space_of(model_type, {"embedding_size": sizes, "hidden_size": [8, 16]}, **changes)


def test_published_and_hand_picked_shapes_are_not_factorised_where_that_is_a_choice() -> None:
    replaced = {"embedding_size": [2, "teacher", 8]}
    space = space_of(replaced=replaced, embedding_size=32)
    assert {a.embedding_size for a in known_shapes(space)} == {0, 2}  # 2: of the smallest
    assert {a.embedding_size for a in hand_picked(space)} == {0}
    narrow = space_of(replaced={"embedding_size": [4, 8]}, embedding_size=32)
    picked = {a.hidden_size: a.embedding_size for a in hand_picked(narrow)}
    assert picked == {8: 4, **dict.fromkeys((12, 16, 20, 24, 28, 32), 8)}


def test_the_fewest_parameters_may_be_those_of_the_narrowest_embeddings() -> None:
    space = space_of(replaced={"hidden_size": [4, 16], "embedding_size": ["teacher", 8]})
    assert (space.smallest.hidden_size, space.smallest.embedding_size) == (4, 0)
    assert (space.narrowest.hidden_size, space.narrowest.embedding_size) == (16, 8)
    plain = space_of(embedding_size=32)
    assert plain.narrowest == plain.smallest


@pytest.mark.parametrize(
    ("model_type", "changes", "given", "label"),
    [
        ("electra", {"embedding_size": 32}, "2x24-h2-e8", "2x24 h2 f48 e8 gelu"),
        ("electra", {"embedding_size": 16}, "2x16-h2-e8", "2x16 h2 f32 e8 gelu"),  # left out else
        ("deberta-v2", {}, "halfx24-e8-relu", "2x24 h3 f48 e8 relu"),
        ("rembert", {"input_embedding_size": 16}, "1-e8", "1x32 h4 f64 e8 gelu"),
    ],
)
def test_a_given_shape(model_type: str, changes: Any, given: str, label: str) -> None:
    config = small_config(model_type, **changes)
    space = space_of_shape(config, model_type, read_shape(given))
    (shape,) = space.architectures
    assert shape.label == label
    assert space.candidate(space.params(space.candidates[0])).architecture == shape


@pytest.mark.parametrize(
    ("model_type", "given", "message"),
    [
        ("electra", "2x24-e33", "2x24-e33: embedding size 33 is more than the teacher's 32; give"),
        ("electra", "2x24-e24", "embedding size 24 is not below the hidden size 24; give less"),
        ("electra", "0x24-e8", "a student without layers has no embedding_size; give 0x24"),
        ("roberta", "2x24-e8", f"2x24-e8: .* of roberta are as wide .* {ABLE} have .*; leave emb"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(model_type: str, given: str, message: str) -> None:
    changes = {"embedding_size": 32} if model_type == "electra" else {}
    with pytest.raises(KdnasError, match=f"^invalid --architecture {message}|{message}"):
        space_of_shape(small_config(model_type, **changes), model_type, read_shape(given))
