"""What a student learns from: a teacher's hidden states and logits, stored or live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from kdnas.distill.batches import Batch
from kdnas.distill.forward import forward
from kdnas.runtime import Runtime


@dataclass(frozen=True)
class Signal:
    """A teacher's outputs for one batch.

    Attributes:
        hidden: By teacher layer, shape (sampled tokens, hidden size): the batch's real tokens,
            example after example, of which `batch.sample` picks some.
        logits: Shape (batch, classes), or None where the teacher has no head for the task.
    """

    hidden: dict[int, Tensor] = field(default_factory=dict)
    logits: Tensor | None = None


class TeacherSignal(Protocol):
    """A source of signals for the examples of one data set."""

    def fetch(self, batch: Batch, layers: Sequence[int]) -> Signal:
        """The teacher's outputs for a batch, on the batch's device."""
        ...


@dataclass(frozen=True)
class NoSignal:
    """For training on labels alone."""

    def fetch(self, batch: Batch, layers: Sequence[int]) -> Signal:
        """Nothing."""
        return Signal()


@dataclass(frozen=True)
class LiveSignal:
    """Runs the teacher on each batch, where a store would not fit on the disk.

    Attributes:
        teacher: In evaluation mode, on the device of the batches.
        runtime: Gives the precision.
        has_head: Whether its logits mean anything.
    """

    teacher: PreTrainedModel
    runtime: Runtime
    has_head: bool

    @torch.no_grad()
    def fetch(self, batch: Batch, layers: Sequence[int]) -> Signal:
        """One forward pass of the teacher."""
        with self.runtime.autocast():
            said = forward(self.teacher, batch, hidden=bool(layers), logits=self.has_head)
        return Signal({layer: said.hidden[layer] for layer in layers}, said.logits)
