from __future__ import annotations

from dataclasses import replace

import pytest
from conftest import small_config
from transformers import AutoConfig

from kdnas.errors import KdnasError
from kdnas.space import FAMILIES, Architecture, Candidate, SearchSpace, family_of
from kdnas.space.arithmetic import arithmetic
from kdnas.space.derivation import derive_choices
from kdnas.space.known_shapes import hand_picked

BERT_BASE = Architecture(12, 12, 768, 3072, "gelu")
MINILM = Architecture(6, 12, 384, 1536, "gelu")


def test_golden_choices_of_bert_base() -> None:
    assert derive_choices(BERT_BASE) == {
        "num_hidden_layers": (2, 4, 6, 8, 10, 12),
        "num_attention_heads": (3, 4, 6, 12),
        "hidden_size": (96, 192, 288, 384, 480, 576, 672, 768),
        "intermediate_size": (768, 1536, 2304, 3072),
        "hidden_act": ("gelu", "relu"),
    }


@pytest.mark.parametrize("layers", [1, 2, 3, 5, 7, 12, 24, 25])
@pytest.mark.parametrize(("heads", "hidden"), [(1, 8), (7, 7), (7, 77), (12, 312), (16, 1024)])
def test_every_combination_of_derived_choices_is_valid(
    layers: int, heads: int, hidden: int
) -> None:
    teacher = Architecture(layers, heads, hidden, 4 * hidden + 1, "gelu_new")
    space = SearchSpace(teacher, derive_choices(teacher))
    combinations = 1
    for values in space.choices.values():
        combinations *= len(values)
    assert len(space.architectures) == combinations
    assert teacher in space.architectures
    assert space.largest == teacher
    assert all(a.hidden_size % a.num_attention_heads == 0 for a in space.architectures)


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_every_family_derives_a_space(model_type: str) -> None:
    space = SearchSpace.from_teacher(AutoConfig.for_model(model_type), model_type)
    assert len(space.architectures) > 100


def test_a_decoder_is_refused() -> None:
    with pytest.raises(KdnasError, match=r"'mine': model type 'gpt2'; .* bert,"):
        family_of("gpt2", "mine")


def space_with(**replacements: list[int | str]) -> SearchSpace:
    config = AutoConfig.for_model("bert")
    return SearchSpace.from_teacher(config, "bert", replacements)


def test_replaced_choices_leave_valid_students_only() -> None:
    space = space_with(hidden_size=[128, 96], num_attention_heads=[2, 3, 12])
    pairs = {(a.hidden_size, a.num_attention_heads) for a in space.architectures}
    assert pairs == {(128, 2), (96, 2), (96, 3), (96, 12)}
    assert not space.is_valid({**space.largest.params, "num_attention_heads": 12})


def test_a_dimension_without_alternative_is_no_parameter_of_a_trial() -> None:
    plain = SearchSpace(MINILM, derive_choices(MINILM))
    assert set(plain.distributions) == set(MINILM.params)
    assert len(plain.candidates) == len(plain.architectures)
    assert plain.is_valid(MINILM.params) and plain.candidate(MINILM.params) == Candidate(MINILM)

    several = SearchSpace(MINILM, derive_choices(MINILM), recipes=("a", "b"), vocabularies=("v",))
    assert set(several.distributions) == {*MINILM.params, "recipe"}
    assert len(several.candidates) == 2 * len(plain.architectures)
    chosen = Candidate(MINILM, "b", "v")
    params = several.params(chosen)
    assert params == {**MINILM.params, "recipe": "b"}
    assert several.candidate(params) == chosen and several.is_valid(params)
    assert not several.is_valid({**params, "recipe": "c"})


@pytest.mark.parametrize(
    ("replacements", "message"),
    [
        ({"depth": [1]}, "unknown field in space: 'depth'"),
        ({"hidden_size": [1000]}, "invalid space.hidden_size: 1000; expected 1 to 768"),
        ({"hidden_size": []}, "expected a list of int values"),
        ({"hidden_size": ["wide"]}, "expected a list of int values"),
        ({"hidden_act": ["gelux"]}, "'gelux' is unknown to transformers"),
        (
            {"hidden_size": [100], "num_attention_heads": [12]},
            "no valid student in the space: no num",
        ),
    ],
)
def test_bad_choices_are_named(replacements: dict[str, list[int | str]], message: str) -> None:
    with pytest.raises(KdnasError, match=message):
        space_with(**replacements)


def test_students_picked_by_hand_are_half_as_deep_and_keep_heads() -> None:
    space = SearchSpace(MINILM, derive_choices(MINILM))
    picked = hand_picked(space, Architecture(5, 3, 96, 384, "relu"))
    assert [a.hidden_size for a in picked] == list(space.choices["hidden_size"])
    assert {a.num_hidden_layers for a in picked} == {3}
    assert picked[3] == Architecture(3, 12, 192, 768, "gelu"), "heads are kept"
    assert picked[-1] == Architecture(3, 12, 384, 1536, "gelu")
    assert picked[3] not in hand_picked(space, picked[3])
    for depth, layers in ((1 / 3, 2), (5 / 6, 5), (1.0, 6)):
        others = hand_picked(space, depth=depth)
        assert [replace(a, num_hidden_layers=3) for a in others] == hand_picked(space)
        assert {a.num_hidden_layers for a in others} == {layers}
    alone = space_with(
        num_hidden_layers=[6],
        num_attention_heads=[12],
        hidden_size=[384],
        intermediate_size=[1536],
        hidden_act=["gelu"],
    )
    assert hand_picked(alone, alone.architectures[0]) == []


@pytest.mark.parametrize("family", ["electra", "deberta", "deberta-v2"])
def test_students_as_wide_as_the_embeddings_are_left_out(family: str) -> None:
    """They would have no map from the embeddings, whose weights fit no other size."""
    config = small_config(family, embedding_size=16)
    space = SearchSpace.from_teacher(config, family)
    assert 16 in space.choices["hidden_size"]
    assert 16 not in {a.hidden_size for a in space.architectures}
    with pytest.raises(
        KdnasError, match="space: hidden_size 16 equals the embedding size, .* another"
    ):
        SearchSpace.from_teacher(config, family, {"hidden_size": [16]})
    two = {"hidden_size": [16, 18], "num_attention_heads": [4]}
    with pytest.raises(
        KdnasError, match=r"size 16 equals .*; no num.* \(4,\) .* hidden_size of \(18,\)$"
    ):
        SearchSpace.from_teacher(config, family, two)
    whole = SearchSpace.from_teacher(small_config(family, embedding_size=32), family)
    assert 32 in {a.hidden_size for a in whole.architectures}


def test_within_a_speed_up_are_shapes_that_have_little_enough_arithmetic() -> None:
    space = SearchSpace.from_teacher(small_config(), "bert", {"num_hidden_layers": [1, 2, 3]})
    fast = space.within(2.0)
    left = set(fast.architectures)
    assert fast.teacher == space.teacher and space.teacher not in left
    for shape in space.architectures:
        ratio = arithmetic(space.teacher) / arithmetic(shape)
        assert (shape in left) == (ratio >= 2.0 / 1.25)
    assert fast.distributions == space.distributions
    assert fast.with_recipes(["default", "labels"]).architectures == fast.architectures
    assert space.within(1e9) is space  # out of reach: refused where speeds are measured
    assert fast.whole.architectures == space.architectures and space.whole is space
