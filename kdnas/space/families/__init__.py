"""Families of encoders and of encoder-decoders: one file each, and why others are refused."""

from __future__ import annotations

from kdnas.errors import KdnasError
from kdnas.space.families import (
    albert,
    bart,
    bert,
    blenderbot,
    deberta,
    deberta_v2,
    distilbert,
    electra,
    encoder_decoder,
    eurobert,
    gte,
    jina,
    marian,
    mbart,
    modernbert,
    mpnet,
    pegasus,
    prelayernorm,
    rembert,
    roberta,
    roformer,
    t5,
    ultrabert,
)
from kdnas.space.families.family import (
    FIELDS,
    SIDES,
    UNITS,
    Attention,
    Family,
    Place,
    Unit,
    is_at,
)
from kdnas.space.families.unsupported import UNSUPPORTED

__all__ = [
    "ENCODER_DECODERS",
    "FAMILIES",
    "FIELDS",
    "SIDES",
    "UNITS",
    "UNSUPPORTED",
    "Attention",
    "Family",
    "Place",
    "Unit",
    "family_of",
    "is_at",
]

FILES = (
    albert,
    bert,
    deberta,
    deberta_v2,
    distilbert,
    electra,
    eurobert,
    gte,
    jina,
    modernbert,
    mpnet,
    prelayernorm,
    rembert,
    roberta,
    roformer,
    ultrabert,
)
WITH_DECODERS = (bart, blenderbot, encoder_decoder, marian, mbart, pegasus, t5)
FAMILIES: dict[str, Family] = {
    model_type: file.FAMILY for file in FILES for model_type in file.FAMILY.model_types
}
ENCODER_DECODERS: dict[str, Family] = {
    model_type: file.FAMILY for file in WITH_DECODERS for model_type in file.FAMILY.model_types
}


def family_of(model_type: str, name: str) -> Family:
    """The family of a teacher by its config's `model_type`; `name` is for the message.

    Raises:
        KdnasError: The model is of no supported family.
    """
    found = FAMILIES.get(model_type) or ENCODER_DECODERS.get(model_type)
    if found is None:
        from transformers.models.auto import modeling_auto

        reason, kind, known = UNSUPPORTED.get(model_type), "encoders", FAMILIES
        if model_type in modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
            kind, known = "encoder-decoders", ENCODER_DECODERS
        raise KdnasError(
            f"unsupported teacher {name!r}: model type {model_type!r}"
            f"{': ' + reason if reason else ''}; supported {kind}: {', '.join(sorted(known))}"
        )
    return found
