"""Spaces of teachers whose heads together are not as wide as the hidden size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.tiny import small_config
from support.tiny_pairs import pair_config
from transformers import AutoConfig

from kdnas.config.shape import read_shape
from kdnas.errors import KdnasError
from kdnas.space import Architecture, Candidate, PrunedArchitecture, Pruning, SearchSpace, family_of
from kdnas.space.arithmetic import arithmetic
from kdnas.space.candidate import shape_of_assistant
from kdnas.space.derivation import teacher_architecture
from kdnas.space.given_shape import space_of_shape, with_assistants

SMALL = Architecture(8, 6, 512, 1024, "gelu_new", 8, own_head_size=64)
# Below and above the hidden size of 32; encoders of every file that has such heads.
ENCODERS = [
    ("eurobert", {"head_dim": 16}),
    ("gte", {"head_dim": 4}),
    ("jina_embeddings_v3", {"head_dim": 4}),
    ("nomic_bert", {"head_dim": 16}),
    ("ultrabert", {"head_dim": 16}),
]
PAIRS = [("t5", {"num_heads": 3}), ("mt5", {"d_kv": 16})]


def t5_small() -> Any:
    """Of version 1.1, Flan-T5 and mT5: 6 heads of 64 in a hidden size of 512."""
    values = {"d_model": 512, "d_kv": 64, "num_heads": 6, "d_ff": 1024, "num_layers": 8}
    return AutoConfig.for_model("t5", **values, feed_forward_proj="gated-gelu")


def test_golden_choices_of_a_small_t5() -> None:
    space = SearchSpace.from_teacher(t5_small(), "flan-t5-small")
    assert space.teacher == SMALL and space.largest == SMALL
    assert space.choices == {
        "num_hidden_layers": (2, 3, 4, 6, 7, 8),
        "num_attention_heads": (2, 3, 6),
        "hidden_size": (64, 128, 192, 256, 320, 384, 448, 512),
        "intermediate_size": (256, 512, 768, 1024),
        "hidden_act": ("gelu_new", "relu"),
        "own_head_size": (64,),
        "num_decoder_layers": (1, 2, 3, 4, 6, 7, 8),
    }
    assert {a.head_size for a in space.architectures} == {64}
    assert SMALL.heads_width == 384 and SMALL.label == "8+8x512 h6 f1024 gelu_new"


def test_a_t5_of_3b_has_wider_heads_than_its_hidden_size() -> None:
    values = {"d_model": 1024, "d_kv": 128, "num_heads": 32, "d_ff": 16384, "num_layers": 24}
    space = SearchSpace.from_teacher(AutoConfig.for_model("t5", **values), "t5-3b")
    assert (space.teacher.own_head_size, space.teacher.heads_width) == (128, 4096)
    assert space.choices["num_attention_heads"] == (8, 16, 32)
    narrow = replace(space.teacher, num_attention_heads=8)
    assert narrow.own_head_size == 0 and narrow.head_size == 128 and narrow in space.architectures


def test_a_size_that_follows_is_not_spelled() -> None:
    usual = Architecture(6, 8, 256, 1024, "relu")
    assert replace(usual, own_head_size=32) == usual
    assert "own_head_size" not in usual.params and "own_head_size" not in usual.values
    assert Candidate(usual).key == "97bbdaf69e72fd98"  # as ever
    own = replace(usual, own_head_size=16)
    assert own.params == {**usual.params, "own_head_size": 16} and own.heads_width == 128
    assert Architecture.from_params(own.params) == Architecture.from_params(own.values) == own
    assert Candidate(own).key != Candidate(usual).key
    static = Architecture(0, 4, 128, 512, "relu", own_head_size=64)
    assert static == Architecture(0, 1, 128, 1, "relu")


@pytest.mark.parametrize(("model_type", "changes"), ENCODERS + PAIRS)
def test_every_candidate_survives_its_params(model_type: str, changes: dict[str, Any]) -> None:
    make = pair_config if model_type in ("t5", "mt5") else small_config
    space = SearchSpace.from_teacher(make(model_type, **changes), model_type)
    assert space.teacher.own_head_size and space.teacher in space.architectures
    if not space.teacher.decoder:
        space = space.with_recipes(["default"], ["static"])
        space = space.with_prunings([Pruning("magnitude", 0.5)])
    for candidate in space.candidates[:: 1 + len(space.candidates) // 300]:
        params = space.params(candidate)
        assert params["own_head_size"] == space.teacher.own_head_size
        assert space.is_valid(params) and Candidate.from_params(params) == candidate
        static = candidate.architecture.num_hidden_layers == 0
        assert static or candidate.architecture.head_size == space.teacher.own_head_size  # type: ignore[union-attr]


def test_heads_of_other_sizes_do_not_fit() -> None:
    usual = Architecture(6, 8, 512, 1024, "relu")
    assert replace(usual, own_head_size=64).fits(usual)  # the same
    assert not replace(usual, num_attention_heads=4, own_head_size=64).fits(usual)
    own = replace(usual, num_attention_heads=6, own_head_size=64)
    assert own.fits(own) and replace(own, num_attention_heads=5).fits(own)
    assert replace(own, hidden_size=100).fits(own)
    assert Architecture(6, 4, 256, 1024, "relu").fits(own)  # of 64
    assert not Architecture(6, 4, 128, 1024, "relu").fits(own)
    assert not replace(own, own_head_size=32).fits(own)
    assert not Architecture(6, 3, 200, 1024, "relu").fits(replace(own, own_head_size=66))


@pytest.mark.parametrize(
    ("given", "label"),
    [
        ("6+2x256-h4-f512", "6+2x256 h4 f512 gelu_new"),
        ("6+2x256", "6+2x256 h3 f512 gelu_new"),  # heads in proportion
        ("2+1x100-h5", "2+1x100 h5 f200 gelu_new"),
        ("all", "8+8x512 h6 f1024 gelu_new"),
    ],
)
def test_a_given_shape_has_the_teachers_heads(given: str, label: str) -> None:
    space = space_of_shape(t5_small(), "t", read_shape(given))
    assert [(a.label, a.head_size) for a in space.architectures] == [(label, 64)]
    assert space.candidate(space.params(space.candidates[0])) == space.candidates[0]
    with pytest.raises(KdnasError, match="7 heads are more than the teacher's 6; give 1 to 6"):
        space_of_shape(t5_small(), "t", read_shape("6+2x256-h7"))


def test_a_shape_that_is_spelled_in_full_has_the_size_of_its_heads() -> None:
    [shape] = space_of_shape(t5_small(), "t", read_shape("6+2x256-h3-d64")).architectures
    assert shape.own_head_size == 64
    with pytest.raises(KdnasError, match="heads of 32 dim.*, which have 64 dimensions each; leave"):
        space_of_shape(t5_small(), "t", read_shape("6+2x256-d32"))
    with pytest.raises(
        KdnasError, match="of 16 dim.*, which have no size of their own; leave -d16"
    ):
        space_of_shape(small_config(), "b", read_shape("2x32-d16"))


@pytest.mark.parametrize(("model_type", "changes"), ENCODERS + PAIRS)
def test_the_word_of_an_assistant_tells_its_whole_shape(
    model_type: str, changes: dict[str, Any]
) -> None:
    make = pair_config if model_type in ("t5", "mt5") else small_config
    config = make(model_type, **changes)
    own = SearchSpace.from_teacher(config, model_type).teacher.own_head_size
    space = space_of_shape(config, model_type, read_shape("1x16"))
    for given in ("half", "2x24-h3", "allx16-relu"):
        [word] = with_assistants(space, [given], config, model_type).assistants
        shape = shape_of_assistant(word)
        [known] = space_of_shape(config, model_type, read_shape(given)).architectures
        assert shape == known and shape.head_size == own
        assert with_assistants(space, [word], config, model_type).assistants == (word,)


def test_nobody_chooses_the_size_of_heads() -> None:
    with pytest.raises(KdnasError, match="unknown field in space: 'own_head_size'"):
        SearchSpace.from_teacher(t5_small(), "t", {"own_head_size": [32]})


def test_golden_arithmetic() -> None:
    """Of each attention four maps of 512 x 384, of the neurons two of 512 x 1024."""
    attention, neurons = 4 * 512 * 384, 2 * 512 * 1024
    assert arithmetic(SMALL) == 8 * (attention + neurons) + 8 * (2 * attention + neurons)
    encoder = SMALL.encoder
    assert arithmetic(encoder) == 8 * (attention + neurons)
    half = PrunedArchitecture.of(encoder, [3] * 8, [1024] * 8)
    assert half.share_of(encoder) == (attention / 2 + neurons) / (attention + neurons)
    assert PrunedArchitecture.whole(encoder).share_of(encoder) == 1


def test_a_config_without_the_field_has_none_of_its_own() -> None:
    for model_type in ("gte", "eurobert", "bert"):
        config = small_config(model_type)
        assert teacher_architecture(config, family_of(model_type, "t")).own_head_size == 0
