"""Families of encoders: one file each, and why others are refused."""

from __future__ import annotations

from kdnas.errors import KdnasError
from kdnas.space.families import (
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
    roberta,
    roformer,
    ultrabert,
)
from kdnas.space.families.family import FIELDS, UNITS, Family, Unit, is_at
from kdnas.space.families.unsupported import UNSUPPORTED

__all__ = ["FAMILIES", "FIELDS", "UNITS", "UNSUPPORTED", "Family", "Unit", "family_of", "is_at"]

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
    roberta,
    roformer,
    ultrabert,
)
FAMILIES: dict[str, Family] = {
    model_type: file.FAMILY for file in FILES for model_type in file.FAMILY.model_types
}


def family_of(model_type: str, name: str) -> Family:
    """The family of a teacher by its config's `model_type`; `name` is for the message.

    Raises:
        KdnasError: The model is not an encoder of a supported family.
    """
    if model_type not in FAMILIES:
        reason = UNSUPPORTED.get(model_type)
        raise KdnasError(
            f"unsupported teacher {name!r}: model type {model_type!r}"
            f"{': ' + reason if reason else ''}; supported encoders: {', '.join(sorted(FAMILIES))}"
        )
    return FAMILIES[model_type]
