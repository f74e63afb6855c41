"""The loss on self-attention relations."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from kdnas.distillation.batches import Batch
from kdnas.distillation.losses.attention import real_places, spread_heads
from kdnas.distillation.losses.base import (
    DistillationLoss,
    LossOptions,
    Shapes,
    TeacherStatistics,
    no_decoder,
    stacks_at,
)
from kdnas.distillation.losses.relation_divergence import relation_divergence
from kdnas.distillation.outputs import HEADS, ModelOutputs, OutputRequest, State, attention_states
from kdnas.distillation.packing import NEVER
from kdnas.errors import KdnasError
from kdnas.space.architecture import Architecture
from kdnas.space.families import Unit
from kdnas.space.pruned import AnyArchitecture, PrunedArchitecture


class RelationsOptions(LossOptions):
    """Options of `relations`."""

    relation_heads: int | None = Field(
        default=None,
        ge=1,
        description="Default: the teacher's attention heads, or fewer that divide both sizes.",
    )
    relation_layer: int | None = Field(
        default=None,
        ge=1,
        description="Teacher layer; default: its last. Of a pruned teacher, the last up to it that "
        "has heads.",
    )
    relation_student_layer: int | None = Field(
        default=None, ge=1, description="Student layer; default: its last."
    )
    relations: Literal["qkv", "attention+values"] = Field(
        default="qkv",
        description="Among queries, among keys and among values (MiniLMv2), or of queries to keys "
        "and among values (MiniLM).",
    )


# By option: what is related to what.
PAIRS: dict[str, tuple[tuple[Unit, Unit], ...]] = {
    "qkv": (("query", "query"), ("key", "key"), ("value", "value")),
    "attention+values": (("query", "key"), ("value", "value")),
}


class RelationsLoss(DistillationLoss):
    """Relations among queries, among keys and among values: see `relation_loss`; their sum.

    One layer of the student, its last, learns from one of the teacher's, for any numbers of heads.
    With `relations: attention+values` what is compared is the attention itself, queries to keys,
    and relations among values: Wang et al. 2020, MiniLM: Deep Self-Attention Distillation for
    Task-Agnostic Compression of Pre-Trained Transformers. As there, its heads are the teacher's
    own where the student has as many; else both are cut into `relation_heads`.

    Of a pruned student, the last layer that has heads learns from the teacher's last; of a pruned
    teacher, the last layer that has heads teaches, and only with those. Without any there is
    nothing to compare, and the loss is 0.
    """

    Options = RelationsOptions
    name: ClassVar[str] = "relations"
    options: RelationsOptions

    def __init__(
        self,
        shapes: Shapes,
        options: RelationsOptions | None = None,
        statistics: TeacherStatistics | None = None,
    ) -> None:
        super().__init__(shapes, options, statistics)
        self.student_layer, self.teacher_layer = self.layers(shapes, self.options)
        own = shapes.of(self.place)
        left = own.teacher_heads[self.teacher_layer - 1] if self.teacher_layer else ()
        size = own.teacher.head_size
        whole = len(left) == own.teacher.num_attention_heads
        # The columns of the teacher's states that are of heads it has; None: all of them.
        self.columns = None if whole else [h * size + i for h in left for i in range(size)]
        widths = {
            f"layer {self.teacher_layer} of the teacher": len(left) * size,
            f"layer {self.student_layer} of {own.student.label}": attention_size(
                own.teacher, own.student, self.student_layer
            ),
        }
        self.heads = self.options.relation_heads or common_heads(len(left), *widths.values())
        if uneven := [name for name, width in widths.items() if width % self.heads]:
            raise KdnasError(
                f"relation_heads {self.heads} does not divide {widths[uneven[0]]}, the width of "
                f"all heads of {uneven[0]}; leave it out to use a number that divides"
            )

    @classmethod
    def layers(cls, shapes: Shapes, options: LossOptions) -> tuple[int, int]:
        """The student's layer and the teacher's; 0 where none has heads."""
        assert isinstance(options, RelationsOptions)
        own = shapes.of(cls.place)
        theirs = [len(heads) for heads in own.teacher_heads[: options.relation_layer]]
        return (
            options.relation_student_layer or last_with_heads(own.student),
            _last(theirs),
        )

    @classmethod
    def teacher_request(cls, shapes: Shapes, options: LossOptions) -> OutputRequest:
        layer = cls.layers(shapes, options)[1]
        return OutputRequest(attention_states(layer, place=cls.place)) if layer else OutputRequest()

    @classmethod
    def student_request(cls, shapes: Shapes, options: LossOptions) -> OutputRequest:
        layer = cls.layers(shapes, options)[0]
        return OutputRequest(attention_states(layer, place=cls.place)) if layer else OutputRequest()

    @classmethod
    def problem(
        cls, options: LossOptions, teacher: Architecture, students: Collection[AnyArchitecture]
    ) -> str | None:
        """A layer that teacher or student lacks or may lack, or heads that do not divide a size."""
        assert isinstance(options, RelationsOptions)
        if problem := no_decoder(cls.name, cls.place, teacher):
            return problem
        teacher, students = stacks_at(cls.place, teacher, students)
        layer, heads = options.relation_layer, options.relation_heads
        depth = teacher.num_hidden_layers
        if layer and layer > depth:
            return f"invalid relation_layer {layer}: the teacher has {depth} layers"
        ours = options.relation_student_layer
        shallow = [n for n in sorted({s.num_hidden_layers for s in students}) if ours and n < ours]
        if shallow:
            return (
                f"invalid relation_student_layer {ours}: the space has students of {shallow[0]} "
                "layers; give a layer that all have, or leave it out for the last"
            )
        widths = {s.heads_width for s in students if isinstance(s, Architecture)}
        uneven = [size for size in (teacher.heads_width, *sorted(widths)) if heads and size % heads]
        if uneven:
            what = "width of all heads" if teacher.own_head_size else "hidden size"
            return (
                f"relation_heads {heads} does not divide the {what} {uneven[0]}; "
                "leave it out to use a number that divides"
            )
        pruned = any(isinstance(student, PrunedArchitecture) for student in students)
        return _problem_of_pruned(teacher, options) if pruned else None

    def loss(self, output: ModelOutputs, batch: Batch, signal: ModelOutputs) -> Tensor:
        if not (self.student_layer and self.teacher_layer):
            return torch.zeros((), device=batch.packing.bias.device, requires_grad=True)
        ours = self._by_head(output, self.student_layer, batch)
        return self._divergence(ours, batch, signal)

    def heldout_value(self, output: ModelOutputs, batch: Batch, signal: ModelOutputs) -> Tensor:
        """The loss as a share of that of a student whose tokens all relate evenly.

        As with hidden states, 0 is the teacher's relations and 1 is to know nothing of them.
        """
        if not (self.student_layer and self.teacher_layer):
            return torch.ones((), device=batch.packing.bias.device)
        ours = self._by_head(output, self.student_layer, batch)
        even = {kind: torch.zeros_like(states) for kind, states in ours.items()}
        own, whole = (self._divergence(each, batch, signal) for each in (ours, even))
        return own / whole.clamp_min(torch.finfo(whole.dtype).tiny)

    def _divergence(self, ours: dict[str, Tensor], batch: Batch, signal: ModelOutputs) -> Tensor:
        """How far a student's queries, keys and values by head are from the teacher's."""
        queries, keys = real_places(batch, self.place)
        seen = keys[:, None, None] if keys.ndim == 2 else keys[:, None]
        bias = torch.zeros_like(seen).masked_fill(seen == 0, NEVER)
        theirs = self._by_head(signal, self.teacher_layer, batch, self.columns)
        losses = [
            relation_loss(ours[a], theirs[a], bias, (ours[b], theirs[b]), queries[:, None] == 1)
            for a, b in PAIRS[self.options.relations]
        ]
        return torch.stack(losses).sum()

    def _by_head(
        self, outputs: ModelOutputs, layer: int, batch: Batch, columns: list[int] | None = None
    ) -> dict[str, Tensor]:
        """Queries, keys and values of a layer, shape (blocks, heads, length, size)."""
        found: dict[str, Tensor] = {}
        for kind in HEADS:
            state = State(kind, layer, self.place)
            # Stores hold half precision, which bf16 autocast does not mix with its own.
            states = outputs.states[state].float()
            states = states if columns is None else states[:, columns]
            found[kind] = spread_heads(batch, states, self.heads, of_decoder=state.of_decoder)
        return found

    def count(self, batch: Batch) -> int:
        """Real tokens."""
        return batch.packing.count if self.place == "encoder" else len(batch.units)


def last_with_heads(student: AnyArchitecture) -> int:
    """A student's last layer, counted from 1; of a pruned one the last that has heads, else 0."""
    if not isinstance(student, PrunedArchitecture):
        return student.num_hidden_layers
    return _last(student.num_attention_heads)


def _last(heads: Sequence[int]) -> int:
    """The last layer that has heads, counted from 1, of their numbers by layer; 0: none has."""
    return max((layer for layer, count in enumerate(heads, start=1) if count), default=0)


def attention_size(teacher: Architecture, student: AnyArchitecture, layer: int) -> int:
    """How wide the queries of a student's layer are, all heads together."""
    if not isinstance(student, PrunedArchitecture):
        return student.heads_width
    return student.num_attention_heads[layer - 1] * teacher.head_size


def _problem_of_pruned(teacher: Architecture, options: RelationsOptions) -> str | None:
    """What does not fit some student pruned from a teacher: its layers keep any numbers of heads.

    How many is known only once it is made.
    """
    layer, heads = options.relation_student_layer, options.relation_heads
    size = teacher.head_size
    if layer:
        return (
            f"invalid relation_student_layer {layer}: a pruned student may have no heads left in "
            "it; leave it out for the last layer that has some"
        )
    if heads and size % heads:
        return (
            f"relation_heads {heads} does not divide {size}, the size of one head, and pruned "
            "students keep any number of them; leave it out to use a number that divides"
        )
    return None


def common_heads(most: int, *sizes: int) -> int:
    """The largest number up to that of the teacher's heads that divides some sizes; at least 1."""
    return max((n for n in range(1, most + 1) if not any(size % n for size in sizes)), default=1)


def relation_loss(
    student: Tensor,
    teacher: Tensor,
    bias: Tensor,
    keys: tuple[Tensor, Tensor] | None = None,
    real: Tensor | None = None,
) -> Tensor:
    """KL divergence of self-attention relations, averaged over heads and real tokens.

    A relation is the softmax over an example's tokens of the scaled products of one token's vector
    with all of them. Wang et al. 2021, MiniLMv2: Multi-Head Self-Attention Relation Distillation.

    Args:
        student: Shape (examples, relation heads, length, size): queries, keys or values.
        teacher: Same shape; the size may differ.
        bias: Shape (examples, 1, 1, length): 0 for real tokens, a very negative number for padding;
            or for each token, (examples, 1, length, length).
        keys: What the student's and the teacher's are multiplied with, of the same shapes; default:
            themselves.
        real: Shape (examples, 1, length): which tokens count; default: those without bias.
    """
    if real is None:
        real = (bias == 0).transpose(-1, -2).squeeze(-1)
    weights = real.float() / (real.sum() * student.shape[1])
    ours, theirs = keys or (student, teacher)
    return relation_divergence((student, ours), (teacher, theirs), bias, weights)
