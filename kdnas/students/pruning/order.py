"""What goes first of a teacher, by several methods, and its students with any counts left."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from kdnas.distillation.batches import Batch
from kdnas.runtime.device import Runtime
from kdnas.space import PrunedArchitecture
from kdnas.students.pruning.kept import Kept, check_fits, shape_of
from kdnas.students.pruning.scores import Scores
from kdnas.students.pruning.slicing import slice_in_place


@dataclass(frozen=True)
class Damage:
    """What is lost with 0, 1, ... heads or neurons left, layer by layer; 0 where all are left.

    Attributes:
        heads: Shape (layers, heads + 1).
        neurons: Shape (layers, neurons + 1).
    """

    heads: Tensor
    neurons: Tensor


class PruningOrder(Protocol):
    """Which heads and neurons of a teacher go first."""

    def damage(self) -> Damage:
        """What layers lose with them."""

    def kept(self, counts: PrunedArchitecture) -> Kept:
        """Which are left, with so many left."""

    def at_sparsity(self, sparsity: float) -> PrunedArchitecture:
        """What is left once a share is gone.

        Raises:
            KdnasError: The sparsity is not from 0 up to, but not including, 1.
        """

    def student(self, counts: PrunedArchitecture) -> PreTrainedModel:
        """The teacher with so many left, in its sliced form; the teacher is not changed.

        Raises:
            KdnasError: The teacher has not so many.
        """

    def save(self, file: Path) -> None:
        """Writes all but the teacher, as safetensors."""


@dataclass(frozen=True)
class ScoreOrder:
    """By scores, the lowest first; what is left stays as it was."""

    teacher: PreTrainedModel
    scores: Scores

    def damage(self) -> Damage:
        """The share of a layer's scores that is lost."""
        return Damage(*(_lost(part) for part in (self.scores.heads, self.scores.neurons)))

    def kept(self, counts: PrunedArchitecture) -> Kept:
        """Those of the highest scores."""
        return self.scores.kept(counts)

    def at_sparsity(self, sparsity: float) -> PrunedArchitecture:
        """A share of all heads, and of all neurons (`Scores.at_sparsity`)."""
        return self.scores.at_sparsity(sparsity, shape_of(self.teacher.config))

    def student(self, counts: PrunedArchitecture) -> PreTrainedModel:
        """See `PruningOrder`."""
        check_fits(counts, shape_of(self.teacher.config))
        return slice_in_place(copy.deepcopy(self.teacher), self.scores.kept(counts))

    def save(self, file: Path) -> None:
        """See `PruningOrder`."""
        self.scores.save(file)

    @classmethod
    def load(cls, file: Path, teacher: PreTrainedModel) -> ScoreOrder:
        """What `save` wrote, of the same teacher."""
        return cls(teacher, Scores.load(file))


def _lost(scores: Tensor) -> Tensor:
    """Shape (layers, units + 1), from scores of shape (layers, units)."""
    lost = torch.cat([scores.new_zeros(len(scores), 1), scores.sort(dim=1).values.cumsum(1)], 1)
    return (lost / lost[:, -1:].clamp_min(1e-30)).flip(1)


def by_scores(score: Callable[..., Scores]) -> Callable[..., ScoreOrder]:
    """The order of a teacher by one kind of scores."""

    def measure(
        teacher: PreTrainedModel, batches: Iterable[Batch], runtime: Runtime, seed: int = 0
    ) -> ScoreOrder:
        return ScoreOrder(teacher, score(teacher, batches, runtime, seed))

    return measure
