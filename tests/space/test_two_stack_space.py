"""Spaces of encoder-decoders."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.tiny_pairs import VARIANTS, pair_config
from transformers import AutoConfig

from kdnas.errors import KdnasError
from kdnas.space import ENCODER_DECODERS, FAMILIES, Architecture, Candidate, SearchSpace, family_of
from kdnas.space.arithmetic import arithmetic
from kdnas.space.derivation import derive_choices, teacher_architecture
from kdnas.space.known_shapes import hand_picked, known_shapes

BART_BASE = Architecture(6, 12, 768, 3072, "gelu", 6)
SHALLOW = Architecture(6, 8, 256, 1024, "relu", 2)


def test_a_shape_has_one_spelling_and_a_short_name() -> None:
    assert SHALLOW.label == "6+2x256 h8 f1024 relu"
    same = Architecture(6, 8, 256, 1024, "relu", 2, 8, 1024)
    assert same == SHALLOW and hash(same) == hash(SHALLOW)
    other = replace(SHALLOW, decoder_attention_heads=4, decoder_intermediate_size=512)
    assert other.label == "6+2x256 h8+4 f1024+512 relu"
    assert other.encoder == Architecture(6, 8, 256, 1024, "relu")
    assert other.decoder == Architecture(2, 4, 256, 512, "relu")
    assert Architecture(6, 8, 256, 1024, "relu", 0, 4, 512) == SHALLOW.encoder


def test_params_name_a_decoder_where_it_says_something() -> None:
    encoder = {
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
        "hidden_size": 256,
        "intermediate_size": 1024,
        "hidden_act": "relu",
    }
    assert SHALLOW.encoder.params == encoder
    assert SHALLOW.params == {**encoder, "num_decoder_layers": 2}
    other = replace(SHALLOW, decoder_intermediate_size=512)
    assert other.params == {**encoder, "num_decoder_layers": 2, "decoder_intermediate_size": 512}
    for architecture in (SHALLOW, SHALLOW.encoder, other):
        assert Architecture.from_params(architecture.params) == architecture
        assert Architecture.from_params(architecture.values) == architecture


def test_keys_are_those_of_ever() -> None:
    assert Candidate(SHALLOW.encoder).key == "97bbdaf69e72fd98"
    assert Candidate(SHALLOW).key == "ff6abaeb0545177f"


def test_golden_choices_of_bart_base() -> None:
    config = AutoConfig.for_model("bart", encoder_layers=6, decoder_layers=6, d_model=768)
    for side in ("encoder", "decoder"):
        setattr(config, f"{side}_attention_heads", 12)
        setattr(config, f"{side}_ffn_dim", 3072)
    space = SearchSpace.from_teacher(config, "bart")
    assert space.teacher == BART_BASE
    assert space.choices == {
        "num_hidden_layers": (1, 2, 3, 4, 5, 6),
        "num_attention_heads": (3, 4, 6, 12),
        "hidden_size": (96, 192, 288, 384, 480, 576, 672, 768),
        "intermediate_size": (768, 1536, 2304, 3072),
        "hidden_act": ("gelu", "relu"),
        "num_decoder_layers": (1, 2, 3, 4, 5, 6),
        "decoder_intermediate_size": (768, 1536, 2304, 3072),
    }
    assert len(space.architectures) == len(set(space.architectures)) == 6 * 4 * 8 * 4 * 2 * 6 * 4
    assert space.largest == space.teacher


def test_a_decoder_starts_from_one_layer() -> None:
    teacher = replace(BART_BASE, num_hidden_layers=12, num_decoder_layers=12)
    choices = derive_choices(teacher, of_decoder=("num_decoder_layers",))
    assert choices["num_decoder_layers"] == (1, 2, 4, 6, 8, 10, 12)
    assert "decoder_intermediate_size" not in choices


@pytest.mark.parametrize(("model_type", "changes"), VARIANTS)
def test_every_family_derives_a_space_of_valid_students(
    model_type: str, changes: dict[str, Any]
) -> None:
    space = SearchSpace.from_teacher(pair_config(model_type, **changes), model_type)
    assert space.teacher in space.architectures and space.largest == space.teacher
    for architecture in space.architectures[:: len(space.architectures) // 50]:
        candidate = Candidate(architecture)
        assert architecture.fits(space.teacher)
        assert space.is_valid(space.params(candidate))
        assert space.candidate(space.params(candidate)) == candidate
    assert {a.num_decoder_layers for a in space.architectures} == {1, 2, 3}


def test_only_what_a_config_says_of_its_decoder_is_a_dimension() -> None:
    t5 = SearchSpace.from_teacher(pair_config("t5"), "t5")
    assert set(t5.choices) == {*t5.teacher.encoder.params, "num_decoder_layers"}
    with pytest.raises(KdnasError, match=r"unknown field in space: 'decoder_intermediate_size'"):
        SearchSpace.from_teacher(pair_config("t5"), "t5", {"decoder_intermediate_size": [16]})
    heads = {"decoder_attention_heads": [1, 2]}
    bart = SearchSpace.from_teacher(pair_config("bart"), "bart", heads)
    assert {a.values["decoder_attention_heads"] for a in bart.architectures} == {1, 2}
    with pytest.raises(KdnasError, match=r"space.num_decoder_layers: 4; expected 1 to 3, the te"):
        SearchSpace.from_teacher(pair_config("bart"), "bart", {"num_decoder_layers": [4]})


def test_an_encoder_does_not_fit_an_encoder_decoder() -> None:
    assert not BART_BASE.encoder.fits(BART_BASE) and not SHALLOW.fits(BART_BASE.encoder)
    assert not replace(SHALLOW, hidden_act="gelu", decoder_attention_heads=3).fits(BART_BASE)
    assert replace(SHALLOW, num_attention_heads=4).fits(BART_BASE)


@pytest.mark.parametrize(
    ("model_type", "changes", "message"),
    [
        ("t5", {"num_decoder_layers": 5}, "its decoder has 5 layers, its encoder 4; transformers"),
        ("encoder-decoder", {"inner": "electra"}, "encoder is of the model type 'electra'; kdnas"),
    ],
)
def test_other_builds_are_refused(model_type: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(KdnasError, match=message):
        SearchSpace.from_teacher(pair_config(model_type, **changes), "t")


def test_stacks_of_two_widths_are_refused() -> None:
    config = pair_config("encoder-decoder")
    config.decoder.hidden_size = 16
    with pytest.raises(KdnasError, match="its encoder has hidden_size 32, its decoder 16; kdnas"):
        SearchSpace.from_teacher(config, "t")


@pytest.mark.parametrize("model_type", sorted(ENCODER_DECODERS))
def test_fields_are_read_and_written_under_their_own_names(model_type: str) -> None:
    config, family = pair_config(model_type), family_of(model_type, model_type)
    assert teacher_architecture(config, family) == Architecture(
        4, 4, 32, 64, teacher_architecture(config, family).hidden_act, 3
    )
    family.write(config, "hidden_act", "relu")
    again = type(config).from_dict(config.to_dict())
    assert family.read(again, "hidden_act") == "relu"


def test_gated_neurons_stay_gated() -> None:
    config, family = pair_config("t5", feed_forward_proj="gated-gelu"), family_of("t5", "t5")
    assert family.read(config, "hidden_act") == "gelu_new"
    family.write(config, "hidden_act", "relu")
    again = type(config).from_dict(config.to_dict())
    assert again.is_gated_act and again.dense_act_fn == "relu"


def test_no_model_type_is_of_two_families() -> None:
    assert not FAMILIES.keys() & ENCODER_DECODERS.keys()


def test_known_shapes_have_shallow_decoders_and_arithmetic_counts_both_stacks() -> None:
    space = SearchSpace(BART_BASE, derive_choices(BART_BASE, of_decoder=("num_decoder_layers",)))
    known = known_shapes(space)
    assert known[0] == replace(BART_BASE, num_decoder_layers=1)
    assert replace(BART_BASE, num_hidden_layers=3, num_decoder_layers=3) in known
    assert all(shape in space.architectures for shape in known)
    picked = hand_picked(space)
    assert {(a.num_hidden_layers, a.num_decoder_layers) for a in picked} == {(3, 3)}
    assert picked[-1] == replace(BART_BASE, num_hidden_layers=3, num_decoder_layers=3)
    encoder = 4 * 256**2 + 2 * 256 * 1024
    assert arithmetic(SHALLOW) == 6 * encoder + 2 * (encoder + 4 * 256**2)
