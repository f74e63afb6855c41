"""The ways to find out which heads and neurons of a teacher go first, by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from transformers import PreTrainedModel

from kdnas.distillation.batches import Batch
from kdnas.runtime.device import Runtime
from kdnas.students.pruning.order import PruningOrder, by_scores
from kdnas.students.pruning.scores import gradient_scores, magnitude_scores, random_scores
from kdnas.students.pruning.ziplm import surgery_order


class PruningMethod(Protocol):
    """Measures the order of a teacher, in evaluation mode, on batches of training rows."""

    def __call__(
        self, teacher: PreTrainedModel, batches: Iterable[Batch], runtime: Runtime, seed: int = 0
    ) -> PruningOrder: ...


# The last two are controls.
PRUNING_METHODS: dict[str, PruningMethod] = {
    "ziplm": surgery_order,
    "gradient": by_scores(gradient_scores),
    "magnitude": by_scores(magnitude_scores),
    "random": by_scores(random_scores),
}
