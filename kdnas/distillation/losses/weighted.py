"""What training minimises: a weighted sum of terms over a student's outputs."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.distillation.batches import Batch
from kdnas.distillation.forward import forward
from kdnas.distillation.losses.table import DistillationLoss
from kdnas.distillation.outputs import OutputRequest
from kdnas.distillation.signal import TeacherSignal

Weight = float | tuple[float, float]


class WeightedLosses(nn.Module):
    """A weighted sum of terms.

    Args:
        terms: By name, each with its weight: a number, or the first and the last of a weight that
            changes evenly over the training. Terms that never weigh anything are left out.

    Attributes:
        ramp: Where the step is between the first, 0, and the last, 1; the training core keeps it.
    """

    def __init__(self, terms: dict[str, tuple[Weight, DistillationLoss]]) -> None:
        super().__init__()
        ends = {name: _ends(weight) for name, (weight, _) in terms.items()}
        self.ends = {name: both for name, both in ends.items() if any(both)}
        self.terms = nn.ModuleDict({name: terms[name][1] for name in self.ends})
        self.ramp = 0.0

    @property
    def wanted(self) -> OutputRequest:
        """What the terms read of the teacher."""
        return _union(term.of_teacher for term in self._terms())

    def weight(self, name: str) -> float:
        """What a term weighs now."""
        first, last = self.ends[name]
        return first + (last - first) * self.ramp

    def counts(self, batch: Batch) -> dict[str, int]:
        """What each loss of a batch is a mean over."""
        return {name: self._term(name).count(batch) for name in self.ends}

    def shares(self, part: Batch, whole: Batch) -> dict[str, float]:
        """What each loss of a part of a batch counts for in that of the whole."""
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
            student: The model.
            batch: Examples.
            source: The teacher's signal for them.
            shares: Factors of the losses in the sum, where the batch is part of another.
        """
        signal = source.fetch(batch, self.wanted)
        output = forward(student, batch, _union(term.of_student for term in self._terms()))
        losses = {name: self._term(name).loss(output, batch, signal) for name in self.ends}
        factors = {name: self.weight(name) * (shares or {}).get(name, 1.0) for name in losses}
        total = sum(factors[name] * loss for name, loss in losses.items())
        return {**losses, "total": torch.as_tensor(total)}

    def _terms(self) -> Iterable[DistillationLoss]:
        return (self._term(name) for name in self.ends)

    def _term(self, name: str) -> DistillationLoss:
        term = self.terms[name]
        assert isinstance(term, DistillationLoss)
        return term


def _ends(weight: Weight) -> tuple[float, float]:
    return weight if isinstance(weight, tuple) else (weight, weight)


def _union(wanted: Iterable[OutputRequest]) -> OutputRequest:
    whole = OutputRequest()
    for part in wanted:
        whole |= part
    return whole
