"""Sources of a teacher's states and logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from transformers import PreTrainedModel

from kdnas.distillation.batches import Batch
from kdnas.distillation.forward import forward
from kdnas.distillation.outputs import ModelOutputs, OutputRequest
from kdnas.runtime.device import Runtime


class TeacherSignal(Protocol):
    """A source of a teacher's outputs for the examples of one data set."""

    def fetch(self, batch: Batch, request: OutputRequest) -> ModelOutputs:
        """The teacher's outputs for a batch, on the batch's device."""
        ...


@dataclass(frozen=True)
class NoSignal:
    """No teacher: for training on labels alone."""

    def fetch(self, batch: Batch, request: OutputRequest) -> ModelOutputs:
        """Nothing."""
        return ModelOutputs()


@dataclass(frozen=True)
class LiveSignal:
    """Runs the teacher on each batch, where a store would not fit on the disk.

    Attributes:
        teacher: In evaluation mode, on the device of the batches.
    """

    teacher: PreTrainedModel
    runtime: Runtime

    @torch.no_grad()
    def fetch(self, batch: Batch, request: OutputRequest) -> ModelOutputs:
        """One forward pass of the teacher."""
        with self.runtime.autocast():
            return forward(self.teacher, batch, request)
