"""Several networks in one, trained together: a step's loss is the mean over some of them.

Yu and Huang 2019, Universally Slimmable Networks (the sandwich rule), which trains a few in each
step; with pruned networks, and all of them in each step, Zhang et al. 2022, MiniDisc.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from kdnas.distillation.batches import Batch
from kdnas.distillation.forward import forward
from kdnas.distillation.losses.base import WeightedLosses
from kdnas.distillation.signals import TeacherSignal

# Each of the parts takes what the whole network does, and all share weights: a few a step will do
# (docs/results.md, Pruned students).
A_STEP = 2

# Makes a model one of its parts while the context lasts.
Part = Callable[[PreTrainedModel], AbstractContextManager[None]]


class SandwichLosses(WeightedLosses):
    """The mean of weighted losses over some parts of a student; the teacher is read once.

    Args:
        losses: Of one part; what they learn themselves serves all.
        parts: At least one.
    """

    varies = True

    def __init__(self, losses: WeightedLosses, parts: Sequence[Part]) -> None:
        super().__init__({name: (losses.ends[name], one) for name, one in losses.named.items()})
        self.parts = tuple(parts)

    @property
    def described(self) -> str:
        """Those of one part, and how many there are."""
        return f"{super().described} of {len(self.parts)} parts, {A_STEP} a step"

    def forward(
        self,
        student: PreTrainedModel,
        batch: Batch,
        source: TeacherSignal,
        shares: dict[str, float] | None = None,
    ) -> dict[str, Tensor]:
        """The losses by name and their weighted sum, `total`, each the mean over parts."""
        signal, found = source.fetch(batch, self.of_teacher), list[dict[str, Tensor]]()
        for part in self.parts_of(batch):
            with part(student):
                output = forward(student, batch, self.of_student)
            found.append({n: loss.loss(output, batch, signal) for n, loss in self.named.items()})
        means = {name: torch.stack([each[name] for each in found]).mean() for name in self.named}
        return self.with_total(means, shares)

    def parts_of(self, batch: Batch) -> Sequence[Part]:
        """Those that a batch trains: its rows decide, so that a resumed training takes the same.

        So do all processes that share a batch.
        """
        if len(self.parts) <= A_STEP:
            return self.parts
        rng = np.random.default_rng(batch.indices if batch.whole is None else batch.whole)
        return [self.parts[i] for i in rng.choice(len(self.parts), A_STEP, replace=False)]
