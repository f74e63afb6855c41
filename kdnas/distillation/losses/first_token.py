"""The loss on first tokens, whose states stand for whole texts."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from kdnas.config.layer_mapping import LayerMapping
from kdnas.distillation.batches import Batch
from kdnas.distillation.layer_map import LayerMap, fixed_mapping_problem
from kdnas.distillation.losses.base import (
    DistillationLoss,
    Fitting,
    LossOptions,
    Shapes,
    TeacherStatistics,
)
from kdnas.distillation.losses.projections import Pair, fit_projections
from kdnas.distillation.outputs import ModelOutputs, OutputRequest, first_token_states
from kdnas.space.architecture import Architecture
from kdnas.space.pruned import AnyArchitecture


class FirstTokenOptions(LossOptions):
    """Options of `first-token`."""

    mapping: LayerMapping = Field(default="skip", description="Teacher layers to learn from.")
    last_layer: bool = Field(
        default=False,
        description="Whether the student's last layer learns, too; a single layer always does.",
    )


class FirstTokenLoss(DistillationLoss):
    """Squared error between the first tokens' states of mapped layers, each of length 1.

    `sum((s / |s| - t / |t|) ** 2)`, a mean over examples and student layers, and over the targets
    of a layer that has several: 0 to 4. A student narrower than its teacher predicts the teacher's
    states through a projection for each layer. The last layer is left out, since the logits teach
    it. Sun et al. 2019, Patient Knowledge Distillation for BERT Model Compression.
    """

    Options = FirstTokenOptions
    options: FirstTokenOptions
    layers: Tensor

    def __init__(
        self,
        shapes: Shapes,
        options: FirstTokenOptions | None = None,
        statistics: TeacherStatistics | None = None,
    ) -> None:
        super().__init__(shapes, options, statistics)
        self.layer_map = self.map_layers(shapes, self.options)
        ours, theirs = shapes.student.hidden_size, shapes.teacher.hidden_size
        targets = self.layer_map.targets if ours != theirs else ()
        maps = (nn.Linear(ours, len(target) * theirs) for target in targets)
        self.projections = nn.ModuleList(maps)
        self.register_buffer("layers", torch.tensor(self.layer_map.rows))

    @classmethod
    def map_layers(cls, shapes: Shapes, options: LossOptions) -> LayerMap:
        """Which teacher layers each student layer learns from."""
        assert isinstance(options, FirstTokenOptions)
        layer_map = LayerMap.of(options.mapping, *shapes.depths)
        return layer_map if options.last_layer else layer_map.without_last

    @classmethod
    def teacher_request(cls, shapes: Shapes, options: LossOptions) -> OutputRequest:
        return OutputRequest(first_token_states(cls.map_layers(shapes, options).teacher_layers))

    @classmethod
    def student_request(cls, shapes: Shapes, options: LossOptions) -> OutputRequest:
        return OutputRequest(first_token_states(cls.map_layers(shapes, options).student_layers))

    @classmethod
    def problem(
        cls, options: LossOptions, teacher: Architecture, students: Collection[AnyArchitecture]
    ) -> str | None:
        """A mapping that does not fit."""
        assert isinstance(options, FirstTokenOptions)
        depths = {s.num_hidden_layers for s in students}
        return fixed_mapping_problem(options.mapping, teacher.num_hidden_layers, depths)

    def loss(self, output: ModelOutputs, batch: Batch, signal: ModelOutputs) -> Tensor:
        errors = []
        for i, layer in enumerate(self.layer_map.student_layers):
            ours, theirs = output.first(layer), self.target(i, signal)
            if self.projections:
                ours = self.projections[i](ours).view(theirs.shape)
            else:
                ours = ours[:, None]
            errors.append(first_token_loss(ours, theirs))
        return torch.stack(errors).mean()

    def count(self, batch: Batch) -> int:
        """Examples."""
        return batch.packing.shape[0]

    def fit(self, on: Fitting) -> None:
        """Sets projections to the ridge regression of the teacher's states of length 1."""

        def pairs(output: ModelOutputs, signal: ModelOutputs) -> Iterator[Pair]:
            for i, layer in enumerate(self.layer_map.student_layers):
                yield i, output.first(layer), F.normalize(self.target(i, signal), dim=-1).flatten(1)

        fit_projections(self, self.projections, pairs, on)

    def target(self, i: int, signal: ModelOutputs) -> Tensor:
        """The teacher's states for the map's student layer i, shape (examples, targets, size)."""
        states = [signal.first(layer).float() for layer in self.layer_map.targets[i]]
        return torch.stack(states, dim=1)


def first_token_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance of states, each scaled to length 1, averaged over all but the last axis.

    Of shape (..., size) each; they broadcast.
    """
    ours, theirs = F.normalize(student.float(), dim=-1), F.normalize(teacher.float(), dim=-1)
    return (ours - theirs).square().sum(-1).mean()
