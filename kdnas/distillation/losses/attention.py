"""The loss on attention scores, head by head."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from kdnas.config.choices import Normalisation
from kdnas.config.layer_mapping import LayerMapping
from kdnas.distillation.batches import Batch
from kdnas.distillation.layer_map import LayerMap, fixed_mapping_problem
from kdnas.distillation.losses.base import (
    DistillationLoss,
    Fitting,
    LossOptions,
    Shapes,
    TeacherStatistics,
    lost_heads,
    no_decoder,
    stacks_at,
)
from kdnas.distillation.outputs import ModelOutputs, OutputRequest, State, attention_states
from kdnas.space.architecture import Architecture
from kdnas.space.families import Place, Unit
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
    for a student whose scores are each head's mean. Heads that a pruned teacher has lost teach
    nothing: means are over those that it has.

    Queries and keys are what the layer's maps give. Positions that a family brings in later, as
    angles (RoFormer, ModernBERT), relative ones (MPNet, DeBERTa) or as a window of local attention,
    are not in these scores: of such families the loss compares what tokens look for in each other,
    and not where. A student's positions work as its teacher's do, whatever it learns. So does the
    bias of T5, whose queries are read as if its scores, too, were divided by `sqrt(d)`.
    """

    Options = AttentionOptions
    name: ClassVar[str] = "attention"
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
        own = shapes.of(self.place)
        self.heads = own.teacher.num_attention_heads
        # By layer, from 1, and head: what its errors count, so that a mean over all heads is one
        # over those that the teacher has.
        self.counts = torch.ones(own.teacher.num_hidden_layers + 1, self.heads)
        for layer, left in enumerate(own.heads_left, start=1):
            self.counts[layer] = 0
            self.counts[layer, list(left)] = self.heads / max(1, len(left))
        self.register_buffer("scale", self.counts.sqrt())

    @classmethod
    def map_layers(cls, shapes: Shapes, options: LossOptions) -> LayerMap:
        """Which teacher layers each student layer learns from."""
        assert isinstance(options, AttentionOptions)
        return LayerMap.of(options.mapping, *shapes.of(cls.place).depths)

    @classmethod
    def teacher_request(cls, shapes: Shapes, options: LossOptions) -> OutputRequest:
        layers = cls.map_layers(shapes, options).teacher_layers
        return OutputRequest(attention_states(*layers, kinds=SCORED, place=cls.place))

    @classmethod
    def student_request(cls, shapes: Shapes, options: LossOptions) -> OutputRequest:
        layers = cls.map_layers(shapes, options).student_layers
        return OutputRequest(attention_states(*layers, kinds=SCORED, place=cls.place))

    @classmethod
    def problem(
        cls, options: LossOptions, teacher: Architecture, students: Collection[AnyArchitecture]
    ) -> str | None:
        """Students with other heads than the teacher; a mapping that does not fit; no decoder."""
        assert isinstance(options, AttentionOptions)
        problem = lost_heads(cls.name, students) or no_decoder(cls.name, cls.place, teacher)
        if problem:
            return problem
        teacher, students = stacks_at(cls.place, teacher, students)
        heads = teacher.num_attention_heads
        others = sorted({int(s.params["num_attention_heads"]) for s in students} - {heads})
        if not others:
            depths = {s.num_hidden_layers for s in students}
            return fixed_mapping_problem(options.mapping, teacher.num_hidden_layers, depths)
        return (
            f"the loss {cls.name} compares {heads} heads of the teacher with those of students "
            f"that have {', '.join(map(str, others))}; give space: {{num_attention_heads: "
            f"[{heads}]}}, or the loss relations, which takes any numbers of heads"
        )

    def loss(self, output: ModelOutputs, batch: Batch, signal: ModelOutputs) -> Tensor:
        queries, keys = real_places(batch, self.place)
        errors = []
        for layer, targets in zip(
            self.layer_map.student_layers, self.layer_map.targets, strict=True
        ):
            ours = scores(output, layer, batch, self.heads, self.place)
            for target in targets:
                theirs = scores(signal, target, batch, self.heads, self.place)
                error = attention_loss(ours, theirs, queries, keys, self.scale[target])
                errors.append(error / len(targets))
        return torch.stack(errors).sum() / len(self.layer_map.targets)

    def count(self, batch: Batch) -> int:
        """Real queries."""
        return batch.packing.count if self.place == "encoder" else len(batch.units)

    @torch.no_grad()
    def fit(self, on: Fitting) -> None:
        """Measures the variance of the teacher's scores."""
        if self.options.normalisation == "raw":
            return
        layers = self.layer_map.teacher_layers
        sums = torch.zeros(2, len(layers), self.heads, device=self.scale.device)
        tokens = 0
        for batch in on.batches:
            signal = on.source.fetch(batch, self.of_teacher)
            queries, keys = real_places(batch, self.place)
            tokens += self.count(batch)
            for i, layer in enumerate(layers):
                found = scores(signal, layer, batch, self.heads, self.place)
                sums[0, i] += head_sums(found, queries, keys)
                sums[1, i] += head_sums(found.square(), queries, keys)
        mean, square = sums / max(1, tokens)
        variance = (square - mean.square()).clamp_min(1e-12)
        counts = self.counts[list(layers)].to(variance.device)
        if self.options.normalisation == "layer":
            variance = (variance * counts).mean(1, keepdim=True).clamp_min(1e-12)
        self.scale[list(layers)] = counts.sqrt() * variance.rsqrt()


def scores(
    outputs: ModelOutputs, layer: int, batch: Batch, heads: int, place: Place = "encoder"
) -> Tensor:
    """A layer's attention scores, shape (blocks, heads, queries, keys), float32."""
    query, key = (
        # Stores hold half precision, which bf16 autocast does not mix with its own.
        spread_heads(batch, outputs.states[state].float(), heads, of_decoder=state.of_decoder)
        for state in (State(kind, layer, place) for kind in SCORED)
    )
    key = key[: len(query)]  # blocks of an encoder's tokens may be filled up
    scaled: Tensor = (query @ key.transpose(-1, -2)).float() / math.sqrt(query.shape[-1])
    return scaled


def spread_heads(batch: Batch, tokens: Tensor, heads: int, *, of_decoder: bool) -> Tensor:
    """Real tokens, shape (tokens, size), as (blocks, heads, length, size / heads), 0 between."""
    if not of_decoder:
        return batch.packing.spread_heads(tokens, heads)
    examples, length, places = _decoder_places(batch)
    padded = tokens.new_zeros(examples * length, tokens.shape[1]).index_copy(0, places, tokens)
    return padded.view(examples, length, heads, -1).transpose(1, 2)


def real_places(batch: Batch, place: Place = "encoder") -> tuple[Tensor, Tensor]:
    """Which queries and which keys of `scores` count, 1 or 0.

    Shape (blocks, queries) and (blocks, keys), or (blocks, queries, keys) of a decoder's own, which
    does not look ahead.
    """
    encoder = (batch.packing.bias[:, 0] == 0).float()
    if place == "encoder":
        return encoder, encoder
    examples, length, places = _decoder_places(batch)
    decoder = encoder.new_zeros(examples * length)
    decoder[places] = 1.0
    decoder = decoder.view(examples, length)
    if place == "cross":
        return decoder, encoder[:examples]
    behind = torch.ones(length, length, device=decoder.device).tril()
    return decoder, decoder[:, None] * behind


def _decoder_places(batch: Batch) -> tuple[int, int, Tensor]:
    """Examples, the length of what the decoder reads, and the cell of each of its tokens."""
    units = batch.units
    assert units.position is not None
    return units.examples, units.length, units.example * units.length + units.position


def attention_loss(
    student: Tensor, teacher: Tensor, queries: Tensor, keys: Tensor, scale: Tensor
) -> Tensor:
    """Squared difference of scores times each head's `scale`.

    A mean over heads, real queries and the real keys of each.

    Args:
        student: Shape (examples, heads, queries, keys).
        teacher: Same shape.
        queries: Shape (examples, queries): 1 for real ones, 0 for padding.
        keys: Shape (examples, keys): likewise; or for each query, (examples, queries, keys).
        scale: Shape (heads,).
    """
    errors = (student - teacher) * scale[:, None, None]
    return head_sums(errors.square(), queries, keys).mean() / queries.sum().clamp_min(1)


def head_sums(values: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
    """Of each head: the means over real keys, summed over real queries; shape (heads,)."""
    share = keys / keys.sum(-1, keepdim=True).clamp_min(1)
    form = "bhqk,bq,bk->h" if keys.ndim == 2 else "bhqk,bq,bqk->h"
    sums: Tensor = torch.einsum(form, values, queries, share)
    return sums
