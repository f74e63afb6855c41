"""The losses on the student's logits: against the task's labels and the teacher's logits."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import Field
from torch import Tensor

from kdnas.distillation.batches import Batch
from kdnas.distillation.losses.base import DistillationLoss, LossOptions, Shapes
from kdnas.distillation.outputs import ModelOutputs, OutputRequest
from kdnas.distillation.top_logits import TEMPERATURES, top_divergence
from kdnas.space.architecture import Architecture
from kdnas.space.pruned import AnyArchitecture
from kdnas.tasks.types.values import LogitLoss


class TaskOptions(LossOptions):
    """Options of `task`."""

    label_smoothing: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of each label that is spread evenly over all outputs.",
    )


class TaskLoss(DistillationLoss):
    """The loss of the task's type (`TaskType.task_loss`); a mean over labelled units."""

    Options = TaskOptions
    options: TaskOptions
    trains_head = needs_labels = trains_embeddings = True

    @classmethod
    def student_request(cls, shapes: Shapes, options: LossOptions) -> OutputRequest:
        return OutputRequest(logits=True)

    def loss(self, output: ModelOutputs, batch: Batch, signal: ModelOutputs) -> Tensor:
        assert output.logits is not None
        return task_loss(output.logits, batch, self.options.label_smoothing)

    def count(self, batch: Batch) -> int:
        """Units with a label."""
        assert batch.labels is not None
        return batch.task.count(batch.units, batch.labels)


def task_loss(logits: Tensor, batch: Batch, smoothing: float = 0.0) -> Tensor:
    """The loss of a batch's labels, of logits of shape (units, outputs)."""
    assert batch.labels is not None
    weights = () if batch.class_weights is None else (batch.class_weights,)
    more = {"smoothing": smoothing} if smoothing else {}
    return batch.task.task_loss(logits, batch.labels, batch.units, *weights, **more)


class LogitsOptions(LossOptions):
    """Options of `logits`."""

    temperature: float = Field(default=2.0, ge=0.01, le=1000, description="Of both softmaxes.")
    logit_loss: LogitLoss = Field(
        default="kl",
        description="KL divergence, soft cross-entropy, or squared error of the logits.",
    )


class LogitsLoss(DistillationLoss):
    """The student's logits against the teacher's (`TaskType.logit_loss`); a mean over units.

    On held-out examples its value is the unexplained share of the logits' variance, which compares
    with that of hidden states.
    """

    Options = LogitsOptions
    trains_head = needs_teacher_head = trains_embeddings = True
    options: LogitsOptions

    @classmethod
    def teacher_request(cls, shapes: Shapes, options: LossOptions) -> OutputRequest:
        return OutputRequest(logits=True)

    student_request = teacher_request

    @classmethod
    def problem(
        cls, options: LossOptions, teacher: Architecture, students: Collection[AnyArchitecture]
    ) -> str | None:
        """What needs all logits of a vocabulary, of which a store has the likeliest alone."""
        assert isinstance(options, LogitsOptions)
        if teacher.decoder is None:
            return None
        alone = "of a vocabulary the likeliest outputs alone are stored"
        if options.logit_loss == "mse":
            return f"invalid logit_loss mse: {alone}; give kl or ce"
        if options.temperature not in TEMPERATURES:
            *some, last = (f"{known:g}" for known in TEMPERATURES)
            return (
                f"invalid temperature {options.temperature:g}: {alone}, the others as one at "
                f"temperatures {', '.join(some)} and {last}; give one of these"
            )
        return None

    def loss(self, output: ModelOutputs, batch: Batch, signal: ModelOutputs) -> Tensor:
        own = self.options
        if signal.top is not None and output.logits is not None:
            entropy = own.logit_loss == "kl"
            return top_divergence(output.logits, signal.top, own.temperature, entropy=entropy)
        assert signal.logits is not None and output.logits is not None
        ours, theirs = output.logits, signal.logits
        return batch.task.logit_loss(ours, theirs, batch.units, own.temperature, own.logit_loss)

    def heldout_value(self, output: ModelOutputs, batch: Batch, signal: ModelOutputs) -> Tensor:
        """Squared error over variance; the loss where the variance is not known."""
        if self.statistics.logit_variance is None:
            return self.loss(output, batch, signal)
        assert signal.logits is not None and output.logits is not None
        both = (output.logits, signal.logits)
        ours, theirs = (batch.task.centred(logits, batch.units) for logits in both)
        return unexplained_logits(ours, theirs, self.statistics.logit_variance)

    def count(self, batch: Batch) -> int:
        return batch.task.count(batch.units)


def logit_variance(logits: Tensor) -> float:
    """Variance of centred logits, shape (units, outputs), over units, summed over outputs."""
    return float(logits.var(0, correction=0).sum())


def unexplained_logits(student: Tensor, teacher: Tensor, variance: float) -> Tensor:
    """Share of the variance of a teacher's logits that a student leaves unexplained.

    0 for the teacher's own logits, 1 for predicting their mean everywhere. Both are centred and of
    shape (units, outputs).
    """
    squares = (student - teacher).square().sum()
    return squares / max(1, len(student)) / max(variance, 1e-12)
