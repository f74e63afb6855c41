"""What every distillation loss has in common, and the weighted sum that training minimises."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import or_
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.distillation.batches import Batch
from kdnas.distillation.forward import forward
from kdnas.distillation.outputs import ModelOutputs, OutputRequest, State
from kdnas.distillation.signals import TeacherSignal
from kdnas.runtime.device import Runtime
from kdnas.space.architecture import Architecture
from kdnas.space.families import Place
from kdnas.space.pruned import AnyArchitecture


@dataclass(frozen=True)
class Shapes:
    """The architectures of a teacher and of its student, and the outputs of a head for the task.

    A teacher that is pruned itself has its dense form, in which heads that are gone are zeros:
    `heads_left` has the numbers, from 0, of those that each of its layers has left; empty where the
    teacher is whole.
    """

    teacher: Architecture
    student: AnyArchitecture
    outputs: int = 0
    heads_left: tuple[tuple[int, ...], ...] = ()

    def of(self, place: Place) -> Shapes:
        """Those of the stack at a place: the decoder's, also of its cross-attention."""
        if place == "encoder":
            return self
        teacher, (student,) = stacks_at(place, self.teacher, [self.student])
        return replace(self, teacher=teacher, student=student)

    @property
    def teacher_heads(self) -> tuple[tuple[int, ...], ...]:
        """The numbers of the heads that the teacher's layers have, layer by layer."""
        every = tuple(range(self.teacher.num_attention_heads))
        return self.heads_left or (every,) * self.teacher.num_hidden_layers

    @property
    def depths(self) -> tuple[int, int]:
        """How many layers the student has, and the teacher."""
        return self.student.num_hidden_layers, self.teacher.num_hidden_layers


def stacks_at(
    place: Place, teacher: Architecture, students: Collection[AnyArchitecture]
) -> tuple[Architecture, list[AnyArchitecture]]:
    """The shapes of a teacher and of students in one stack; without a decoder it has no layer."""
    if place == "encoder":
        return teacher, list(students)
    decoders = (getattr(student, "decoder", None) for student in students)
    return teacher.decoder or NO_SHAPE, [decoder or NO_SHAPE for decoder in decoders]


def no_decoder(name: str, place: Place, teacher: Architecture) -> str | None:
    """Why a loss on a decoder does not fit a teacher; None where it does."""
    if place == "encoder" or teacher.decoder:
        return None
    return f"the loss {name} compares decoders, and the teacher has none; leave it out"


@dataclass(frozen=True)
class Fitting:
    """A student on some rows, and what its teacher says of them.

    Attributes:
        student: On the runtime's device, as is the loss that is fitted.
        batches: Of the rows.
        source: Has the teacher's signal for them.
        runtime: Where it all happens.
    """

    student: PreTrainedModel
    batches: Sequence[Batch]
    source: TeacherSignal
    runtime: Runtime


@dataclass(frozen=True)
class TeacherStatistics:
    """What is known of a teacher's outputs for some data.

    Attributes:
        mean: Shape (teacher layers + 1, hidden size): of hidden states, over real tokens.
        variance: Same shape.
        logit_variance: Summed over outputs; None where the teacher gave no logits.
        views: Of states that views make, shape (2, width) each: mean and variance over the rows
            that they were learnt on.
        decoder: Mean and variance of a decoder's hidden states, over its tokens, likewise.
    """

    mean: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    variance: Tensor = field(default_factory=lambda: torch.ones(0, 0))
    logit_variance: float | None = None
    views: Mapping[State, Tensor] = field(default_factory=dict)
    decoder: tuple[Tensor, Tensor] | None = None

    def of(self, place: Place) -> tuple[Tensor, Tensor]:
        """Mean and variance of the hidden states of a stack."""
        if place == "encoder":
            return self.mean, self.variance
        return self.decoder or (torch.zeros(0, 0), torch.ones(0, 0))


class LossOptions(BaseModel):
    """What a recipe may choose of a loss beside its weight: keys of the stage that names it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


NO_SHAPE = Architecture(0, 0, 0, 0, "")
Weight = float | tuple[float, float]


class DistillationLoss(nn.Module):
    """One loss: what it reads of teacher and student, its value, what it learns itself.

    A loss is a module. Its parameters (projections, filters) are trained with the student and go
    on in a later stage that has a loss of the same name; they are never shipped. What it learns
    once, from the teacher alone, are its `views`.

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
        has_parameters: Whether it has parameters, so that it learns also where the student is
            frozen.
        has_views: Whether it has views, which are learnt on the task's labels.
        place: The stack whose states it reads; another than the encoder's needs a decoder.
    """

    Options: ClassVar[type[LossOptions]] = LossOptions
    trains_head: ClassVar[bool] = False
    needs_teacher_head: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False
    trains_embeddings: ClassVar[bool] = False
    has_parameters: ClassVar[bool] = False
    has_views: ClassVar[bool] = False
    place: ClassVar[Place] = "encoder"

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

    @classmethod
    def views(cls, shapes: Shapes, options: LossOptions) -> dict[State, TeacherView]:
        """By the states that the loss asks of the teacher, what makes them; here not yet learnt."""
        return {}

    @classmethod
    def reads_labels(cls, options: LossOptions) -> bool:
        """Whether it reads the labels of its rows; default: `needs_labels`."""
        return cls.needs_labels

    @classmethod
    def needs_all_tokens(cls, options: LossOptions) -> bool:
        """Whether it needs the hidden states of every real token; most do with a sample."""
        return False

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

    def fit(self, on: Fitting) -> None:
        """Sets the loss's own parameters for a student before training; default: nothing to do."""

    def fit_for_score(self, on: Fitting) -> None:
        """As `fit`, but only what `heldout_value` reads need be set; default: everything."""
        self.fit(on)

    def learnt(self) -> dict[str, Tensor]:
        """What goes on in a later stage; default: all of its state, if it has parameters."""
        return self.state_dict() if any(True for _ in self.parameters()) else {}

    def continues(self, state: dict[str, Tensor]) -> bool:
        """Whether what an earlier stage learnt fits this loss.

        Names and shapes must be the same, and whole numbers, such as the layers of a map.
        """
        own = self.learnt()
        return own.keys() == state.keys() and all(
            _alike(own[name], value) for name, value in state.items()
        )


class TeacherView(DistillationLoss):
    """A map of a teacher's states that is learnt once, from the teacher alone, and then frozen.

    While it is learnt it is a loss like any other, with the teacher in the student's place; what
    it reads comes from the teacher's signal. A loss asks the teacher's signal for what it makes.

    Attributes:
        epochs, lr: How it is trained.
        width: Of what it makes.
        spread: Shape (2, width): mean and variance of what it makes, over the rows that it was
            learnt on.
    """

    has_parameters = True
    needs_labels = True
    spread: Tensor

    def __init__(
        self,
        shapes: Shapes,
        options: LossOptions,
        *,
        width: int,
        epochs: float,
        lr: float,
    ) -> None:
        super().__init__(shapes, options)
        self.width, self.epochs, self.lr = width, epochs, lr
        self.register_buffer("spread", torch.stack([torch.zeros(width), torch.ones(width)]))

    @property
    def title(self) -> str:
        """Names it where progress is shown."""
        raise NotImplementedError

    @property
    def remedy(self) -> str:
        """What a person should do where its training diverges."""
        raise NotImplementedError

    @property
    def key(self) -> dict[str, Any]:
        """Plain values that decide it, beside the teacher, the rows and how long it is trained."""
        raise NotImplementedError

    def view(self, signal: ModelOutputs) -> Tensor:
        """What it makes of the states that it reads: shape (tokens, width), float32."""
        raise NotImplementedError


class WeightedLosses(nn.Module):
    """A weighted sum of losses.

    Args:
        losses: By name, each with its weight: a number, or the first and the last of a weight that
            changes evenly over the training. Losses that always weigh 0 are left out.

    Attributes:
        named: The losses by name.
        ramp: Shape (): where the step is between the first, 0, and the last, 1; the training loop
            keeps it.
        varies: Whether what a step computes depends on its batch.
    """

    ramp: Tensor
    varies = False

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

        Where no loss reads anything of the student, it does not run.

        Where the batch is part of another, `shares` are factors of the losses in the sum.
        """
        output, signal = self._outputs(student, batch, source)
        losses = {n: loss.loss(output, batch, signal) for n, loss in self.named.items()}
        return self.with_total(losses, shares)

    def with_total(
        self, losses: Mapping[str, Tensor], shares: Mapping[str, float] | None
    ) -> dict[str, Tensor]:
        """Losses by name with their weighted sum, `total`; `shares` are further factors."""
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
        if self.of_student == OutputRequest():
            return ModelOutputs(), signal
        return forward(student, batch, self.of_student), signal


def lost_heads(name: str, students: Iterable[AnyArchitecture]) -> str | None:
    """Why a loss that reads all heads of a layer does not fit students; None where it does."""
    if all(student.has_all_heads for student in students):
        return None
    return (
        f"the loss {name} reads all heads of a layer, and pruned students lose some; use the "
        "losses hidden, relations and logits (e.g. --recipe relations)"
    )


def _alike(ours: Tensor, theirs: Tensor) -> bool:
    """Whether two tensors have one shape and, where they hold whole numbers, the same values."""
    if ours.is_floating_point():
        return ours.shape == theirs.shape
    return torch.equal(ours.cpu(), theirs.cpu())


def _union(requests: Iterable[OutputRequest]) -> OutputRequest:
    return reduce(or_, requests, OutputRequest())
