"""The losses with all that they need to know: what they read, and what they learn beside it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kdnas.distillation.batches import Batch
from kdnas.distillation.layer_map import LayerMap
from kdnas.distillation.losses.functions import (
    logit_variance,
    relation_loss,
    scales,
    squared_error,
    unexplained_logits,
)
from kdnas.distillation.outputs import (
    HEADS,
    ModelOutputs,
    OutputRequest,
    State,
    attention_states,
    hidden_states,
)
from kdnas.tasks import TaskType
from kdnas.tasks.types.base import LogitLoss

LOGITS = OutputRequest(logits=True)


class DistillationLoss(nn.Module):
    """One loss. Subclasses say what they read of the teacher and of the student."""

    of_teacher = OutputRequest()
    of_student = OutputRequest()

    def loss(self, output: ModelOutputs, batch: Batch, signal: ModelOutputs) -> Tensor:
        """A scalar, given the student's outputs and the teacher's for the same batch."""
        raise NotImplementedError

    def count(self, batch: Batch) -> int:
        """What the loss of a batch is a mean over: its real tokens."""
        return batch.packing.count


class UnitLoss(DistillationLoss):
    """One loss over a model's logits, by unit."""

    of_student = LOGITS

    def count(self, batch: Batch) -> int:
        """Its units."""
        return batch.task.count(batch.units)


class TaskLoss(UnitLoss):
    """The task's own labels."""

    def loss(self, output: ModelOutputs, batch: Batch, signal: ModelOutputs) -> Tensor:
        """As the task's type has it."""
        assert batch.labels is not None and output.logits is not None
        return batch.task.task_loss(output.logits, batch.labels, batch.units)

    def count(self, batch: Batch) -> int:
        """Its units with a label."""
        assert batch.labels is not None
        return batch.task.count(batch.units, batch.labels)


class LogitsLoss(UnitLoss):
    """The teacher's logits.

    Args:
        temperature: Of both softmaxes.
        kind: Which loss.
    """

    of_teacher = LOGITS

    def __init__(self, temperature: float, kind: LogitLoss = "kl") -> None:
        super().__init__()
        self.temperature = temperature
        self.kind = kind

    def loss(self, output: ModelOutputs, batch: Batch, signal: ModelOutputs) -> Tensor:
        """As the task's type has it: Hinton's soft-target loss, or squared error."""
        assert signal.logits is not None and output.logits is not None
        return batch.task.logit_loss(
            output.logits, signal.logits, batch.units, self.temperature, self.kind
        )


class UnexplainedLogits(UnitLoss):
    """The share of the teacher's logits left unexplained: for scores, beside that of its states.

    Args:
        logits: Shape (units, outputs): the teacher's for all of the data.
        task: The type of their task.
    """

    of_teacher = LOGITS

    def __init__(self, logits: Tensor, task: TaskType) -> None:
        super().__init__()
        self.variance = logit_variance(task.centred(logits))

    def loss(self, output: ModelOutputs, batch: Batch, signal: ModelOutputs) -> Tensor:
        """Squared error over variance."""
        assert signal.logits is not None and output.logits is not None
        ours, theirs = batch.task.centred(output.logits), batch.task.centred(signal.logits)
        return unexplained_logits(ours, theirs, self.variance)


class RelationsLoss(DistillationLoss):
    """How strongly the teacher's queries resemble one another, its keys, and its values.

    Args:
        student_layer: Whose attention learns.
        teacher_layer: From whose.
        heads: Relation heads; they divide both hidden sizes.
    """

    def __init__(self, student_layer: int, teacher_layer: int, heads: int) -> None:
        super().__init__()
        self.student_layer, self.teacher_layer = student_layer, teacher_layer
        self.heads = heads
        self.of_teacher = OutputRequest(attention_states(teacher_layer))
        self.of_student = OutputRequest(attention_states(student_layer))

    def loss(self, output: ModelOutputs, batch: Batch, signal: ModelOutputs) -> Tensor:
        """Sum over queries, keys and values of the divergence of their relations."""
        spread, bias = batch.packing.spread_heads, batch.packing.bias[:, None]
        losses = []
        for kind in HEADS:
            ours = spread(output.states[State(kind, self.student_layer)], self.heads)
            # Stores hold half precision, which bf16 autocast does not mix with its own.
            theirs = spread(signal.states[State(kind, self.teacher_layer)].float(), self.heads)
            losses.append(relation_loss(ours, theirs, bias))
        return torch.stack(losses).sum()


class HiddenLoss(DistillationLoss):
    """The teacher's hidden states, through learnable projections (one a student layer).

    Each student layer of the map predicts its teacher layers, side by side, each centred and
    scaled so that a loss of 1 is what predicting the mean would earn. Where the map gives the same
    layer twice it is predicted once, unless student layers share a projection.

    Args:
        layer_map: Which teacher layers each student layer predicts.
        student_size: The student's hidden size.
        mean: Shape (teacher layers + 1, teacher hidden size), over the data's real tokens.
        variance: Same shape.
        normalisation: `layer`, `dimension` or `raw`.
        shared: One projection for all layers.
    """

    scale: Tensor
    mean: Tensor

    def __init__(
        self,
        layer_map: LayerMap,
        student_size: int,
        mean: Tensor,
        variance: Tensor,
        normalisation: str = "layer",
        shared: bool = False,
    ) -> None:
        super().__init__()
        self.layer_map = layer_map
        self.of_teacher = OutputRequest(hidden_states(layer_map.teacher_layers))
        self.of_student = OutputRequest(hidden_states(layer_map.student_layers))
        targets = layer_map.targets
        once = tuple(t[:1] if len(set(t)) == 1 else t for t in targets)
        self.targets = targets if shared else once
        widths = [len(target) * mean.shape[1] for target in self.targets]
        kept = widths[:1] if shared else widths
        self.projections = nn.ModuleList(nn.Linear(student_size, width) for width in kept)
        self.register_buffer("mean", mean.float().clone())
        factors = torch.stack([scales(row.float(), normalisation) for row in variance])
        self.register_buffer("scale", factors)

    def loss(self, output: ModelOutputs, batch: Batch, signal: ModelOutputs) -> Tensor:
        """Mean over student layers of the normalised squared error, real tokens only."""
        errors = []
        for i, layer in enumerate(self.layer_map.student_layers):
            predicted = self.projection(i)(output.hidden(layer))
            error = squared_error(predicted, self.target(i, signal))
            errors.append(error / len(self.targets[i]))
        return torch.stack(errors).mean()

    def count(self, batch: Batch) -> int:
        """Its real tokens that are compared."""
        return len(range(batch.packing.count)[batch.sample])

    def projection(self, i: int) -> nn.Module:
        """The projection of the map's student layer i, counted from 0."""
        return self.projections[i if len(self.projections) > 1 else 0]

    def target(self, i: int, signal: ModelOutputs) -> Tensor:
        """What that layer predicts: shape (tokens, targets * teacher hidden size), float32."""
        layers, size = self.targets[i], self.mean.shape[1]
        first = signal.hidden(layers[0])
        target = torch.empty(len(first), len(layers) * size, device=first.device)
        for layer, part in zip(layers, torch.split(target, size, dim=1), strict=True):
            part.copy_(signal.hidden(layer)).sub_(self.mean[layer]).mul_(self.scale[layer])
        return target
