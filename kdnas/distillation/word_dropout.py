"""Word dropout: a static student reads a random part of each text at a step.

Iyyer et al. 2015, Deep Unordered Composition Rivals Syntactic Methods for Text Classification: a
mean over a random subset of a text's tokens keeps few telling words from deciding alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def hidden_words(model: nn.Module, share: float) -> Iterator[None]:
    """Hides a share of the tokens of each text from a model that averages what its mask shows.

    Args:
        model: Takes `attention_mask` by name; one with layers that read packed tokens would still
            see them all.
        share: From 0 to below 1; the chance of each token, drawn anew in each pass.
    """

    def hide(_: nn.Module, args: Any, given: dict[str, Any]) -> Any:
        return args, {**given, "attention_mask": thinned(given["attention_mask"], share)}

    if not share:
        yield
        return
    hook = model.register_forward_pre_hook(hide, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def thinned(mask: Tensor, share: float) -> Tensor:
    """A mask, shape (texts, length), with a share of its tokens hidden.

    A text that would lose all of them keeps all.
    """
    kept = mask * (torch.rand(mask.shape, device=mask.device) >= share)
    return torch.where(kept.any(1, keepdim=True), kept, mask)
