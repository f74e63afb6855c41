"""The loss on the task's own labels."""

from __future__ import annotations

from torch import Tensor

from kdnas.distillation.batches import Batch
from kdnas.distillation.losses.base import DistillationLoss, LossOptions, Shapes
from kdnas.distillation.outputs import ModelOutputs, OutputRequest


class TaskLoss(DistillationLoss):
    """The loss of the task's type (`TaskType.task_loss`); a mean over labelled units."""

    trains_head = needs_labels = trains_embeddings = True

    @classmethod
    def student_request(cls, shapes: Shapes, options: LossOptions) -> OutputRequest:
        """Its logits."""
        return OutputRequest(logits=True)

    def loss(self, output: ModelOutputs, batch: Batch, signal: ModelOutputs) -> Tensor:
        """For example cross-entropy with class ids, or squared error with scores."""
        assert batch.labels is not None and output.logits is not None
        return batch.task.task_loss(output.logits, batch.labels, batch.units)

    def count(self, batch: Batch) -> int:
        """Units with a label."""
        assert batch.labels is not None
        return batch.task.count(batch.units, batch.labels)
