"""What the values of a generation config may be."""

from __future__ import annotations

import math
from collections.abc import Iterator
from textwrap import shorten
from typing import Any, TypeGuard

from kdnas.errors import KdnasError
from kdnas.runtime.shown import quoted

# By setting, the least that it may be; what is None in a config is not set.
_COUNTS = {
    **dict.fromkeys(("num_beams", "num_return_sequences", "max_length", "max_new_tokens"), 1),
    **dict.fromkeys(("min_length", "min_new_tokens", "top_k"), 0),
    **dict.fromkeys(("no_repeat_ngram_size", "encoder_no_repeat_ngram_size"), 0),
}
_ABOVE_0 = ("repetition_penalty", "encoder_repetition_penalty")
_SAMPLED_ABOVE_0 = ("temperature",)
_SHARES = ("top_p", "typical_p")
_SWITCHES = ("do_sample", "use_cache")
# Those that the decoder reads.
_TOKENS = ("decoder_start_token_id", "forced_bos_token_id", "forced_eos_token_id")


def refuse_values(model: Any) -> None:
    """Refuses a generation config whose values no model can write by.

    Transformers checks some when a config is saved, and fails on the others while it writes.

    Raises:
        KdnasError: One is of another kind, or out of its range.
    """
    for name, value, expected in _wrong(model):
        told = quoted(value) if isinstance(value, str) else shorten(str(value), 60)
        raise KdnasError(
            f"invalid {name} {told} in the generation config of the model: expected "
            f"{expected}; mend its generation_config.json"
        )


def _wrong(model: Any) -> Iterator[tuple[str, Any, str]]:
    """Name, value and what is expected of what is wrong."""
    own = model.generation_config
    for name in _SWITCHES:
        if not isinstance(value := getattr(own, name, None), bool | None):
            yield name, value, "true or false"
    for name, least in _COUNTS.items():
        value = getattr(own, name, None)
        if value is not None and not (_is_whole(value) and value >= least):
            yield name, value, f"a whole number, {least} or more"
    sampled = _SAMPLED_ABOVE_0 if own.do_sample else ()
    for name in (*_ABOVE_0, *sampled):
        value = getattr(own, name, None)
        if value is not None and not (_is_number(value) and value > 0):
            yield (
                name,
                value,
                "a number above 0"
                + " (to write greedily, set do_sample to false)" * (name in sampled),
            )
    for name in _SHARES if own.do_sample else ():
        value = getattr(own, name, None)
        if value is not None and not (_is_number(value) and 0 < value <= 1):
            yield name, value, "a number above 0, at most 1"
    if (value := getattr(own, "length_penalty", None)) is not None and not _is_number(value):
        yield "length_penalty", value, "a number"
    yield from _wrong_tokens(own, _vocabulary_of(model))


def _wrong_tokens(own: Any, tokens: int) -> Iterator[tuple[str, Any, str]]:
    for name in _TOKENS:
        value = getattr(own, name, None)
        ids = value if isinstance(value, list | tuple) else [value]
        several = name == "forced_eos_token_id"
        known = all(_is_whole(one) and 0 <= one < tokens for one in ids)
        if value is not None and not (known and (several or len(ids) == 1)):
            yield name, value, f"a token id, 0 to {tokens - 1}"


def _vocabulary_of(model: Any) -> int:
    """How many tokens it can write."""
    head = model.get_output_embeddings()
    return len(model.get_input_embeddings().weight if head is None else head.weight)


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))
