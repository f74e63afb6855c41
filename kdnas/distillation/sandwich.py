"""Several networks in one, trained together: each step's loss is the mean over all of them.

Yu and Huang 2019, Universally Slimmable Networks (the sandwich rule); with pruned networks, Zhang
et al. 2022, MiniDisc.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from transformers import PreTrainedModel

from kdnas.distillation.batches import Batch
from kdnas.distillation.forward import forward
from kdnas.distillation.losses.base import WeightedLosses
from kdnas.distillation.signals import TeacherSignal

# Makes a model one of its parts while the context lasts.
Part = Callable[[PreTrainedModel], AbstractContextManager[None]]


class SandwichLosses(WeightedLosses):
    """The mean of weighted losses over several parts of a student; the teacher is read once.

    Args:
        losses: Of one part; what they learn themselves serves all.
        parts: At least one.
    """

    def __init__(self, losses: WeightedLosses, parts: Sequence[Part]) -> None:
        super().__init__({name: (losses.ends[name], one) for name, one in losses.named.items()})
        self.parts = tuple(parts)

    @property
    def described(self) -> str:
        """Those of one part, and how many there are."""
        return f"{super().described} of {len(self.parts)} parts"

    def forward(
        self,
        student: PreTrainedModel,
        batch: Batch,
        source: TeacherSignal,
        shares: dict[str, float] | None = None,
    ) -> dict[str, Tensor]:
        """The losses by name and their weighted sum, `total`, each the mean over parts."""
        signal, found = source.fetch(batch, self.of_teacher), list[dict[str, Tensor]]()
        for part in self.parts:
            with part(student):
                output = forward(student, batch, self.of_student)
            found.append({n: loss.loss(output, batch, signal) for n, loss in self.named.items()})
        means = {name: torch.stack([each[name] for each in found]).mean() for name in self.named}
        return self.with_total(means, shares)
