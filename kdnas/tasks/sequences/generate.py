"""Writing texts with an encoder-decoder, as the generation config of its checkpoint says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

# What a generation config without a length of its own means: too short for most targets.
_USUAL = (None, 20)


def length_options(model: Any, longest: int) -> dict[str, int]:
    """New tokens at most, where the checkpoint's generation config says nothing of it."""
    own = model.generation_config
    says = own.max_new_tokens is not None or own.max_length not in _USUAL
    return {} if says else {"max_new_tokens": longest}


def generated(model: Any, inputs: Mapping[str, Tensor], longest: int) -> Tensor:
    """Token ids for a batch of sources, shape (batch, tokens), the decoder's first one included.

    Beams, sampling, lengths and penalties are those of the checkpoint's generation config; of
    several returned sequences the first one counts.
    """
    read = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    own = length_options(model, longest)
    found: Tensor = model.generate(**read, **own, num_return_sequences=1)
    return found
