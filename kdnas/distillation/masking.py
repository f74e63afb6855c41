"""Masked inputs: some tokens masked once, for teacher and student alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from kdnas.errors import KdnasError
from kdnas.tasks.encode import EncodedExamples


def mask_tokens(
    data: EncodedExamples, tokenizer: Any, probability: float, seed: int
) -> EncodedExamples:
    """The data with a share of its tokens replaced by the mask token, special tokens spared.

    Args:
        data: Stays as it is.
        tokenizer: Knows its mask token and its special tokens.
        probability: Of each token.
        seed: The mask is drawn once from it.

    Raises:
        KdnasError: The tokenizer has no mask token.
    """
    if not probability:
        return data
    if tokenizer.mask_token_id is None:
        raise KdnasError(
            f"invalid --mask-probability {probability}: the teacher's tokenizer has no mask token; "
            "leave it out"
        )
    rng = np.random.default_rng(seed)
    hidden = rng.random(len(data.input_ids)) < probability
    hidden &= ~np.isin(data.input_ids, tokenizer.all_special_ids)
    ids = np.where(hidden, tokenizer.mask_token_id, data.input_ids).astype(data.input_ids.dtype)
    return replace(data, input_ids=ids)
