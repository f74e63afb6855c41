"""The loss on attention scores, head by head."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

import torch
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedModel

from kdnas.config.choices import Normalisation
from kdnas.config.layer_mapping import LayerMapping
from kdnas.distillation.batches import Batch
from kdnas.distillation.layer_map import LayerMap, fixed_mapping_problem
from kdnas.distillation.losses.base import (
    DistillationLoss,
    LossOptions,
    Shapes,
    TeacherStatistics,
    lost_heads,
)
from kdnas.distillation.outputs import (
    ModelOutputs,
    OutputRequest,
    State,
    TeacherSignal,
    attention_states,
)
from kdnas.runtime.device import Runtime
from kdnas.space.architecture import Architecture
from kdnas.space.families import Unit
from kdnas.space.pruned import AnyArchitecture

SCORED: tuple[Unit, Unit] = ("query", "key")


class AttentionOptions(LossOptions):
    """Options of `attention`."""

    mapping: LayerMapping = Field(default="skip", description="Teacher layers to learn from.")
    normalisation: Normalisation = Field(
        default="layer",
        description="Share of the variance of the teacher's scores left unexplained per layer, per "
        "head (dimension), or the raw MSE.",
    )


class AttentionLoss(DistillationLoss):
    """Squared error of the scores `q.k / sqrt(d)` before the softmax, of mapped layers.

    A mean over student layers (and the targets of a layer that has several), heads and real
    queries, and for each of these over the real keys of its example. Student and teacher need
    equally many heads, which may differ in size. Jiao et al. 2020, TinyBERT: Distilling BERT for
    Natural Language Understanding.

    The share of variance is that of the teacher's scores on some batches, which `fit` measures: 1
    for a student whose scores are each head's mean.

    Queries and keys are what the layer's maps give. Positions that a family brings in later, as
    angles (RoFormer, ModernBERT), relative ones (MPNet, DeBERTa) or as a window of local attention,
    are not in these scores: of such families the loss compares what tokens look for in each other,
    and not where. A student's positions work as its teacher's do, whatever it learns.
    """

    Options = AttentionOptions
    options: AttentionOptions
    scale: Tensor

    def __init__(
        self,
        shapes: Shapes,
        options: AttentionOptions | None = None,
        statistics: TeacherStatistics | None = None,
    ) -> None:
        super().__init__(shapes, options, statistics)
        self.layer_map = self.map_layers(shapes, self.options)
        self.heads = shapes.teacher.num_attention_heads
        self.register_buffer("scale", torch.ones(shapes.teacher.num_hidden_layers + 1, self.heads))

    @classmethod
    def map_layers(cls, shapes: Shapes, options: LossOptions) -> LayerMap:
        """Which teacher layers each student layer learns from."""
        assert isinstance(options, AttentionOptions)
        depths = shapes.student.num_hidden_layers, shapes.teacher.num_hidden_layers
        return LayerMap.of(options.mapping, *depths)

    @classmethod
    def teacher_request(cls, shapes: Shapes, options: LossOptions) -> OutputRequest:
        layers = cls.map_layers(shapes, options).teacher_layers
        return OutputRequest(attention_states(*layers, kinds=SCORED))

    @classmethod
    def student_request(cls, shapes: Shapes, options: LossOptions) -> OutputRequest:
        layers = cls.map_layers(shapes, options).student_layers
        return OutputRequest(attention_states(*layers, kinds=SCORED))

    @classmethod
    def problem(
        cls, options: LossOptions, teacher: Architecture, students: Collection[AnyArchitecture]
    ) -> str | None:
        """Students with other heads than the teacher; a mapping that does not fit."""
        assert isinstance(options, AttentionOptions)
        if lost := lost_heads("attention", students):
            return lost
        heads = teacher.num_attention_heads
        others = sorted({int(s.params["num_attention_heads"]) for s in students} - {heads})
        if not others:
            depths = {s.num_hidden_layers for s in students}
            return fixed_mapping_problem(options.mapping, teacher.num_hidden_layers, depths)
        return (
            f"the loss attention compares {heads} heads of the teacher with those of students that "
            f"have {', '.join(map(str, others))}; give space: {{num_attention_heads: [{heads}]}}, "
            "or the loss relations, which takes any numbers of heads"
        )

    def loss(self, output: ModelOutputs, batch: Batch, signal: ModelOutputs) -> Tensor:
        real = real_places(batch)
        errors = []
        for layer, targets in zip(
            self.layer_map.student_layers, self.layer_map.targets, strict=True
        ):
            ours = scores(output, layer, batch, self.heads)
            for target in targets:
                theirs = scores(signal, target, batch, self.heads)
                error = attention_loss(ours, theirs, real, real, self.scale[target])
                errors.append(error / len(targets))
        return torch.stack(errors).sum() / len(self.layer_map.targets)

    @torch.no_grad()
    def fit(
        self,
        student: PreTrainedModel,
        batches: Iterable[Batch],
        source: TeacherSignal,
        runtime: Runtime,
    ) -> None:
        """Measures the variance of the teacher's scores."""
        if self.options.normalisation == "raw":
            return
        layers = self.layer_map.teacher_layers
        sums = torch.zeros(2, len(layers), self.heads, device=self.scale.device)
        tokens = 0
        for batch in batches:
            signal, real = source.fetch(batch, self.of_teacher), real_places(batch)
            tokens += batch.packing.count
            for i, layer in enumerate(layers):
                found = scores(signal, layer, batch, self.heads)
                sums[0, i] += head_sums(found, real, real)
                sums[1, i] += head_sums(found.square(), real, real)
        mean, square = sums / max(1, tokens)
        variance = (square - mean.square()).clamp_min(1e-12)
        if self.options.normalisation == "layer":
            variance = variance.mean(1, keepdim=True).expand_as(variance)
        self.scale[list(layers)] = variance.rsqrt()


def scores(outputs: ModelOutputs, layer: int, batch: Batch, heads: int) -> Tensor:
    """A layer's attention scores, shape (blocks, heads, length, length), float32."""
    # Stores hold half precision, which bf16 autocast does not mix with its own.
    states = (outputs.states[State(kind, layer)].float() for kind in SCORED)
    query, key = (batch.packing.spread_heads(s, heads) for s in states)
    scaled: Tensor = (query @ key.transpose(-1, -2)).float() / math.sqrt(query.shape[-1])
    return scaled


def real_places(batch: Batch) -> Tensor:
    """Which places of `scores` are real tokens, shape (blocks, length), 1 or 0."""
    return (batch.packing.bias[:, 0] == 0).float()


def attention_loss(
    student: Tensor, teacher: Tensor, queries: Tensor, keys: Tensor, scale: Tensor
) -> Tensor:
    """Squared difference of scores times each head's `scale`.

    A mean over heads, real queries and the real keys of each.

    Args:
        student: Shape (examples, heads, queries, keys).
        teacher: Same shape.
        queries: Shape (examples, queries): 1 for real ones, 0 for padding.
        keys: Shape (examples, keys): likewise.
        scale: Shape (heads,).
    """
    errors = (student - teacher) * scale[:, None, None]
    return head_sums(errors.square(), queries, keys).mean() / queries.sum().clamp_min(1)


def head_sums(values: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
    """Of each head: the means over real keys, summed over real queries; shape (heads,)."""
    share = keys / keys.sum(1, keepdim=True).clamp_min(1)
    sums: Tensor = torch.einsum("bhqk,bq,bk->h", values, queries, share)
    return sums
