"""The families: which there are, and what of a teacher of one is refused."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import small_config
from transformers import AutoConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
)

from kdnas.errors import KdnasError
from kdnas.space import FAMILIES, SearchSpace, family_of
from kdnas.space.families import ENCODER_DECODERS, UNSUPPORTED

# Decoders that transformers does not list among its causal models.
DECODERS = {"mistral4"}


def test_every_encoder_of_transformers_is_supported_or_refused_with_a_reason() -> None:
    known = FAMILIES.keys() | UNSUPPORTED.keys() | DECODERS
    rest = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES.keys() - known
    decoders = rest & MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.keys()
    assert all(AutoConfig.for_model(name).is_encoder_decoder for name in rest - decoders)
    assert not FAMILIES.keys() & UNSUPPORTED.keys()
    assert known <= MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES.keys()


def test_a_refusal_says_why() -> None:
    with pytest.raises(KdnasError) as refusal:
        family_of("funnel", "mine")
    assert str(refusal.value).startswith(
        "unsupported teacher 'mine': model type 'funnel': its layers pool the sequence; "
        "supported encoders: albert, bert, "
    )


def test_a_refusal_of_an_encoder_decoder_names_those_that_are_supported() -> None:
    with pytest.raises(KdnasError) as refusal:
        family_of("led", "mine")
    names = ", ".join(sorted(ENCODER_DECODERS))
    assert str(refusal.value) == (
        f"unsupported teacher 'mine': model type 'led'; supported encoder-decoders: {names}"
    )


@pytest.mark.parametrize(
    ("model_type", "changes", "message"),
    [
        ("albert", {"inner_group_num": 2}, "inner_group_num is 2; kdnas supports 1"),
        ("deberta-v2", {"attention_head_size": 16}, "4 heads of 16 dimensions do not make up its"),
        ("modernbert", {"head_dim": 16}, "4 heads of 16 dimensions do not make up its hidden size"),
        ("eurobert", {"num_key_value_heads": 2}, "its 4 heads share 2 keys and values; kdnas"),
        ("deberta", {"talking_head": True}, "talking_head is on; kdnas supports layers without it"),
        ("gte", {"rope_parameters": {"rope_type": "longrope"}}, "rope_type is longrope, whose fac"),
        ("roformer", {"rotary_value": True}, "rotary_value is on; kdnas supports layers without"),
    ],
)
def test_layers_of_another_build_are_refused(
    model_type: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(KdnasError, match=message):
        SearchSpace.from_teacher(small_config(model_type, **changes), "t")


def test_rotated_heads_have_an_even_size() -> None:
    config = small_config("modernbert", hidden_size=40, num_attention_heads=4)
    space = SearchSpace.from_teacher(config, "t")
    sizes = {a.hidden_size // a.num_attention_heads for a in space.architectures}
    assert min(sizes) == 2 and not any(size % 2 for size in sizes)
    assert space.teacher in space.architectures
    odd = {"hidden_size": [36], "num_attention_heads": [4]}
    with pytest.raises(KdnasError, match=r"\(4,\) divides .* of \(36,\) into heads of an even siz"):
        SearchSpace.from_teacher(config, "t", odd)
