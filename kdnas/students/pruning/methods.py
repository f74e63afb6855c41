"""The ways to find out which heads and neurons of a teacher go first, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel

from kdnas.distillation.batches import Batch
from kdnas.runtime.device import Runtime
from kdnas.space import Architecture
from kdnas.students.pruning.order import PruningOrder, ScoreOrder, by_scores
from kdnas.students.pruning.scores import gradient_scores, magnitude_scores, random_scores
from kdnas.students.pruning.ziplm import SurgeryOrder, surgery_order, surgery_seconds
from kdnas.teachers.distillation_data import FEW_BATCHES


@dataclass(frozen=True)
class PruningMethod:
    """A way to find an order.

    Attributes:
        measure: Finds that of a teacher, in evaluation mode, on batches of training rows.
        load: Reads what an order's `save` wrote; takes the file and the teacher.
        seconds: What it should take, by the teacher's shape and a step of training it.
    """

    measure: Callable[..., PruningOrder]
    load: Callable[[Path, PreTrainedModel], PruningOrder]
    seconds: Callable[[Architecture, float], float]

    def __call__(
        self, teacher: PreTrainedModel, batches: Iterable[Batch], runtime: Runtime, seed: int = 0
    ) -> PruningOrder:
        """The order of a teacher."""
        return self.measure(teacher, batches, runtime, seed)


def _batches(_: Architecture, step: float) -> float:
    return FEW_BATCHES * step


def _none(_: Architecture, step: float) -> float:
    return 0.0


# The last two are controls.
PRUNING_METHODS: dict[str, PruningMethod] = {
    "ziplm": PruningMethod(surgery_order, SurgeryOrder.load, surgery_seconds),
    "gradient": PruningMethod(by_scores(gradient_scores), ScoreOrder.load, _batches),
    "magnitude": PruningMethod(by_scores(magnitude_scores), ScoreOrder.load, _none),
    "random": PruningMethod(by_scores(random_scores), ScoreOrder.load, _none),
}
