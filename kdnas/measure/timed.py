"""A model in the runtime that serves it, as far as latency needs to know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from transformers import PreTrainedModel

Pass = Callable[[], object]


class Timed(Protocol):
    """What can be timed."""

    def ready(self, batch: int, length: int) -> Pass:
        """A forward pass over full-length examples; it returns when its result is there."""


class InTorch:
    """A model in eager PyTorch, on the device it is on.

    Args:
        model: In the form that is shipped.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model

    def ready(self, batch: int, length: int) -> Pass:
        """A forward pass without gradients."""
        model, device = self._model, self._model.device
        tokens = torch.ones(batch, length, dtype=torch.long, device=device)
        mask = torch.ones_like(tokens)
        _wait(device)

        @torch.inference_mode()
        def once() -> None:
            model(input_ids=tokens, attention_mask=mask)
            _wait(device)

        return once


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()
