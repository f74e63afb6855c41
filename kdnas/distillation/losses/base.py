"""What every distillation loss has in common, and the weighted sum that training minimises."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import ClassVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.distillation.batches import Batch
from kdnas.distillation.outputs import ModelOutputs, OutputRequest, TeacherSignal, forward
from kdnas.runtime.device import Runtime
from kdnas.space.architecture import Architecture
from kdnas.space.pruned import AnyArchitecture


@dataclass(frozen=True)
class Shapes:
    """The architectures of a teacher and of its student."""

    teacher: Architecture
    student: AnyArchitecture


@dataclass(frozen=True)
class TeacherStatistics:
    """What is known of a teacher's outputs for some data.

    Attributes:
        mean: Shape (teacher layers + 1, hidden size): of hidden states, over real tokens.
        variance: Same shape.
        logit_variance: Summed over outputs; None where the teacher gave no logits.
    """

    mean: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    variance: Tensor = field(default_factory=lambda: torch.ones(0, 0))
    logit_variance: float | None = None


class LossOptions(BaseModel):
    """What a recipe may choose of a loss beside its weight: keys of the stage that names it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


NO_SHAPE = Architecture(0, 0, 0, 0, "")
Weight = float | tuple[float, float]


class DistillationLoss(nn.Module):
    """One loss: what it reads of teacher and student, its value, what it learns itself.

    A loss is a module. Its parameters (projections, filters) are trained with the student and go
    on in a later stage that has a loss of the same name; they are never shipped.

    Args:
        shapes: Of teacher and student; losses that ignore them may be made without.
        options: An instance of the class's `Options`; default: its defaults.
        statistics: Of the teacher's outputs for the stage's data.

    Attributes:
        Options: The YAML options.
        trains_head: Whether it trains the student's head, which a general teacher cannot teach.
        needs_teacher_head: Whether it reads what only a teacher with the task's head can give.
        needs_labels: Whether it reads labels.
        trains_embeddings: Whether word embeddings are trained with it, unless a stage says so.
    """

    Options: ClassVar[type[LossOptions]] = LossOptions
    trains_head: ClassVar[bool] = False
    needs_teacher_head: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False
    trains_embeddings: ClassVar[bool] = False

    def __init__(
        self,
        shapes: Shapes | None = None,
        options: LossOptions | None = None,
        statistics: TeacherStatistics | None = None,
    ) -> None:
        super().__init__()
        self.options = options or self.Options()
        self.statistics = statistics or TeacherStatistics()
        shapes = shapes or Shapes(NO_SHAPE, NO_SHAPE)
        self.of_teacher = self.teacher_request(shapes, self.options)
        self.of_student = self.student_request(shapes, self.options)

    @classmethod
    def teacher_request(cls, shapes: Shapes, options: LossOptions) -> OutputRequest:
        """What the loss reads of the teacher; known before any of the teacher's outputs are."""
        return OutputRequest()

    @classmethod
    def student_request(cls, shapes: Shapes, options: LossOptions) -> OutputRequest:
        """What the loss reads of the student."""
        return OutputRequest()

    @classmethod
    def scoring_options(cls, options: LossOptions) -> LossOptions:
        """The options that candidates are scored with; default: those they are trained with.

        A loss whose target a candidate can choose names one that is the same for all.
        """
        return options

    @classmethod
    def problem(
        cls, options: LossOptions, teacher: Architecture, students: Collection[AnyArchitecture]
    ) -> str | None:
        """Why the options do not fit a teacher or some student of a space; None where they do."""
        return None

    def loss(self, output: ModelOutputs, batch: Batch, signal: ModelOutputs) -> Tensor:
        """The value for a batch, a scalar: a mean over `count` items.

        `output` and `signal` hold what `student_request` and `teacher_request` ask.
        """
        raise NotImplementedError

    def heldout_value(self, output: ModelOutputs, batch: Batch, signal: ModelOutputs) -> Tensor:
        """The value that scores candidates on held-out examples; default: the loss."""
        return self.loss(output, batch, signal)

    def count(self, batch: Batch) -> int:
        """Over how many items of a batch the loss is a mean; default: real tokens."""
        return batch.packing.count

    def fit(
        self,
        student: PreTrainedModel,
        batches: Iterable[Batch],
        source: TeacherSignal,
        runtime: Runtime,
    ) -> None:
        """Sets the loss's own parameters for a student before training; default: nothing to do.

        Student and loss are on the runtime's device; `source` has the signal for the batches.
        """

    def continues(self, state: dict[str, Tensor]) -> bool:
        """Whether parameters of an earlier stage fit this loss; default: names and shapes do."""
        own = self.state_dict()
        return own.keys() == state.keys() and all(
            own[name].shape == value.shape for name, value in state.items()
        )


class WeightedLosses(nn.Module):
    """A weighted sum of losses.

    Args:
        losses: By name, each with its weight: a number, or the first and the last of a weight that
            changes evenly over the training. Losses that always weigh 0 are left out.

    Attributes:
        named: The losses by name.
        ramp: Shape (): where the step is between the first, 0, and the last, 1; the training loop
            keeps it.
    """

    ramp: Tensor

    def __init__(self, losses: Mapping[str, tuple[Weight, DistillationLoss]]) -> None:
        super().__init__()
        ends = {n: w if isinstance(w, tuple) else (w, w) for n, (w, _) in losses.items()}
        self.ends = {name: ends[name] for name in ends if any(ends[name])}
        self.named = {name: losses[name][1] for name in self.ends}
        self.losses = nn.ModuleDict(self.named)
        self.of_teacher = _union(loss.of_teacher for loss in self.named.values())
        self.of_student = _union(loss.of_student for loss in self.named.values())
        self.register_buffer("ramp", torch.zeros(()), persistent=False)

    @property
    def described(self) -> str:
        """The losses, their weights and their options, as text."""
        return str({n: (self.ends[n], repr(loss.options)) for n, loss in self.named.items()})

    def weight(self, name: str) -> float | Tensor:
        """A loss's weight now; one that does not change is a number."""
        first, last = self.ends[name]
        return first if first == last else first + (last - first) * self.ramp

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

        Where the batch is part of another, `shares` are factors of the losses in the sum.
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


def lost_heads(name: str, students: Iterable[AnyArchitecture]) -> str | None:
    """Why a loss that reads all heads of a layer does not fit students; None where it does."""
    pruned = next((student.label for student in students if not student.has_all_heads), None)
    if pruned is None:
        return None
    return (
        f"the loss {name} reads all heads of a layer, and students such as {pruned} have lost "
        "some; use the losses hidden and logits"
    )


def _union(requests: Iterable[OutputRequest]) -> OutputRequest:
    return reduce(or_, requests, OutputRequest())
