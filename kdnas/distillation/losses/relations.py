"""The loss on self-attention relations."""

from __future__ import annotations

from collections.abc import Collection

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from kdnas.distillation.batches import Batch
from kdnas.distillation.losses.base import (
    DistillationLoss,
    LossOptions,
    Shapes,
    TeacherStatistics,
    lost_heads,
)
from kdnas.distillation.outputs import HEADS, ModelOutputs, OutputRequest, State, attention_states
from kdnas.space.architecture import Architecture
from kdnas.space.pruned import AnyArchitecture


class RelationsOptions(LossOptions):
    """Options of `relations`."""

    relation_heads: int | None = Field(
        default=None,
        ge=1,
        description="Default: the teacher's attention heads, or fewer that divide both sizes.",
    )
    relation_layer: int | None = Field(
        default=None, ge=1, description="Teacher layer; default: its last."
    )


class RelationsLoss(DistillationLoss):
    """Relations among queries, among keys and among values: see `relation_loss`; their sum.

    The student's last layer learns from one layer of the teacher, for any numbers of heads.
    """

    Options = RelationsOptions
    options: RelationsOptions

    def __init__(
        self,
        shapes: Shapes,
        options: RelationsOptions | None = None,
        statistics: TeacherStatistics | None = None,
    ) -> None:
        super().__init__(shapes, options, statistics)
        self.student_layer = shapes.student.num_hidden_layers
        self.teacher_layer = self.options.relation_layer or shapes.teacher.num_hidden_layers
        self.heads = self.options.relation_heads or common_heads(shapes)

    @classmethod
    def teacher_request(cls, shapes: Shapes, options: LossOptions) -> OutputRequest:
        assert isinstance(options, RelationsOptions)
        layer = options.relation_layer or shapes.teacher.num_hidden_layers
        return OutputRequest(attention_states(layer))

    @classmethod
    def student_request(cls, shapes: Shapes, options: LossOptions) -> OutputRequest:
        return OutputRequest(attention_states(shapes.student.num_hidden_layers))

    @classmethod
    def problem(
        cls, options: LossOptions, teacher: Architecture, students: Collection[AnyArchitecture]
    ) -> str | None:
        """A layer that the teacher lacks, pruned heads, or heads that do not divide a size."""
        assert isinstance(options, RelationsOptions)
        layer, heads = options.relation_layer, options.relation_heads
        depth = teacher.num_hidden_layers
        if layer and layer > depth:
            return f"invalid relation_layer {layer}: the teacher has {depth} layers"
        if lost := lost_heads("relations", students):
            return lost
        sizes = (teacher.hidden_size, *sorted({student.hidden_size for student in students}))
        uneven = [size for size in sizes if heads and size % heads]
        if uneven:
            return (
                f"relation_heads {heads} does not divide the hidden size {uneven[0]}; "
                "leave it out to use a number that divides"
            )
        return None

    def loss(self, output: ModelOutputs, batch: Batch, signal: ModelOutputs) -> Tensor:
        spread, bias = batch.packing.spread_heads, batch.packing.bias[:, None]
        losses = []
        for kind in HEADS:
            ours = spread(output.states[State(kind, self.student_layer)], self.heads)
            # Stores hold half precision, which bf16 autocast does not mix with its own.
            theirs = spread(signal.states[State(kind, self.teacher_layer)].float(), self.heads)
            losses.append(relation_loss(ours, theirs, bias))
        return torch.stack(losses).sum()


def common_heads(shapes: Shapes) -> int:
    """The largest number up to the teacher's heads that divides both hidden sizes."""
    sizes = shapes.teacher.hidden_size, shapes.student.hidden_size
    heads = range(1, shapes.teacher.num_attention_heads + 1)
    return max(n for n in heads if not any(size % n for size in sizes))


def relation_loss(student: Tensor, teacher: Tensor, bias: Tensor) -> Tensor:
    """KL divergence of self-attention relations, averaged over heads and real tokens.

    A relation is the softmax over an example's tokens of the scaled products of one token's vector
    with all of them. Wang et al. 2021, MiniLMv2: Multi-Head Self-Attention Relation Distillation.

    Args:
        student: Shape (examples, relation heads, length, size): queries, keys or values.
        teacher: Same shape; the size may differ.
        bias: Shape (examples, 1, 1, length): 0 for real tokens, a very negative number for padding.
    """
    ours, theirs = _relations(student, bias), _relations(teacher, bias)
    divergence = (theirs.exp() * (theirs - ours)).sum(-1)
    real = (bias == 0).transpose(-1, -2).squeeze(-1)
    return (divergence * real).sum() / (real.sum() * divergence.shape[1])


def _relations(states: Tensor, bias: Tensor) -> Tensor:
    scores = states @ states.transpose(-1, -2) * states.shape[-1] ** -0.5
    return F.log_softmax(scores.float() + bias, dim=-1)
