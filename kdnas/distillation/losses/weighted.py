"""The weighted sum of losses that training minimises."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from operator import or_

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.distillation.batches import Batch
from kdnas.distillation.forward import forward
from kdnas.distillation.losses.base import DistillationLoss
from kdnas.distillation.outputs import ModelOutputs, OutputRequest
from kdnas.distillation.signal import TeacherSignal

Weight = float | tuple[float, float]


class WeightedLosses(nn.Module):
    """A weighted sum of losses.

    Args:
        losses: By name, each with its weight: a number, or the first and the last of a weight that
            changes evenly over the training. Losses that always weigh 0 are left out.

    Attributes:
        named: The losses by name.
        ramp: Where the step is between the first, 0, and the last, 1; the training loop keeps it.
    """

    def __init__(self, losses: Mapping[str, tuple[Weight, DistillationLoss]]) -> None:
        super().__init__()
        ends = {n: w if isinstance(w, tuple) else (w, w) for n, (w, _) in losses.items()}
        self.ends = {name: ends[name] for name in ends if any(ends[name])}
        self.named = {name: losses[name][1] for name in self.ends}
        self.losses = nn.ModuleDict(self.named)
        self.of_teacher = _union(loss.of_teacher for loss in self.named.values())
        self.of_student = _union(loss.of_student for loss in self.named.values())
        self.ramp = 0.0

    def weight(self, name: str) -> float:
        """A loss's weight now."""
        first, last = self.ends[name]
        return first + (last - first) * self.ramp

    def counts(self, batch: Batch) -> dict[str, int]:
        """Over how many items of a batch each loss is a mean."""
        return {name: loss.count(batch) for name, loss in self.named.items()}

    def shares(self, part: Batch, whole: Batch) -> dict[str, float]:
        """The share of a part of a batch in each loss of the whole batch."""
        of = self.counts(whole)
        return {name: count / max(1, of[name]) for name, count in self.counts(part).items()}

    def forward(
        self,
        student: PreTrainedModel,
        batch: Batch,
        source: TeacherSignal,
        shares: dict[str, float] | None = None,
    ) -> dict[str, Tensor]:
        """The student's losses on a batch by name, and their weighted sum as `total`.

        Args:
            source: The teacher's signal for the batch.
            shares: Factors of the losses in the sum, where the batch is part of another.
        """
        output, signal = self._outputs(student, batch, source)
        losses = {n: loss.loss(output, batch, signal) for n, loss in self.named.items()}
        factors = {name: self.weight(name) * (shares or {}).get(name, 1.0) for name in losses}
        total = sum(factors[name] * loss for name, loss in losses.items())
        return {**losses, "total": torch.as_tensor(total)}

    def heldout_values(
        self, student: PreTrainedModel, batch: Batch, source: TeacherSignal
    ) -> dict[str, Tensor]:
        """What each loss says of a student on held-out examples."""
        output, signal = self._outputs(student, batch, source)
        return {n: loss.heldout_value(output, batch, signal) for n, loss in self.named.items()}

    def _outputs(
        self, student: PreTrainedModel, batch: Batch, source: TeacherSignal
    ) -> tuple[ModelOutputs, ModelOutputs]:
        signal = source.fetch(batch, self.of_teacher)
        return forward(student, batch, self.of_student), signal


def _union(requests: Iterable[OutputRequest]) -> OutputRequest:
    return reduce(or_, requests, OutputRequest())
