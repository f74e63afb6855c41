"""Task-aware layer-wise distillation. Liang et al. 2023, Less is More (TED).

Hidden states hold far more than a task needs. Filters, maps of a layer's states that are learnt on
the task's labels, keep what it needs; the student's filtered states then follow the teacher's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from kdnas.config.choices import Normalisation
from kdnas.config.layer_mapping import LayerMapping
from kdnas.config.recipe import LEAST_EPOCHS, LEAST_LR, MOST_EPOCHS, MOST_LR
from kdnas.distillation.batches import Batch
from kdnas.distillation.layer_map import LayerMap, fixed_mapping_problem
from kdnas.distillation.losses.base import (
    DistillationLoss,
    Fitting,
    LossOptions,
    Shapes,
    TeacherStatistics,
    TeacherView,
)
from kdnas.distillation.losses.hidden import scales, squared_error
from kdnas.distillation.losses.logits import task_loss
from kdnas.distillation.losses.projections import Pair, fit_projections
from kdnas.distillation.outputs import ModelOutputs, OutputRequest, State, hidden_states
from kdnas.space.architecture import Architecture
from kdnas.space.pruned import AnyArchitecture

Pooling = Literal["first", "mean"]
Kind = Literal["linear", "mlp"]


class FilteredOptions(LossOptions):
    """Options of `filtered`; those of the filters hold for teacher and student alike."""

    filter_goal: Literal["teacher", "labels"] = Field(
        default="teacher",
        description="What student and filters learn: to say what the teacher's filters say, or the "
        "labels, through heads that are thrown away.",
    )
    filter_size: int | None = Field(
        default=None, ge=1, le=65_536, description="Outputs; default: the teacher's hidden size."
    )
    filter_kind: Kind = Field(default="linear", description="One linear map, or two with a GELU.")
    filter_interval: int = Field(
        default=1, ge=1, le=1000, description="At every n-th student layer, the last one included."
    )
    filter_pooling: Pooling = Field(
        default="mean",
        description="What heads read where a whole example has a label: the first token or the "
        "mean of all.",
    )
    filter_epochs: float = Field(
        default=3.0, ge=LEAST_EPOCHS, le=MOST_EPOCHS, description="Of the teacher's filters."
    )
    filter_lr: float = Field(
        default=1e-3, ge=LEAST_LR, le=MOST_LR, description="Of the teacher's filters."
    )
    mapping: LayerMapping = Field(default="evenly", description="Teacher layers to learn from.")
    normalisation: Normalisation = Field(
        default="layer",
        description="Share of variance left unexplained per layer, per dimension, or the raw MSE.",
    )


class FilteredLoss(DistillationLoss):
    """The student's filtered states against the teacher's.

    With the default goal: the mean over pairs of layers, and for each over real tokens, of the
    squared error between the student's filtered states and the teacher's, as a share of the
    latter's variance. Golden, `raw`, one pair, tokens [real, padding]: [[1, 2], [5, 5]] and
    [[1, 0], [0, 0]] -> 2.

    With the goal `labels`: the mean over the filters of the task's loss of a head on each. A stage
    with it and `freeze_student` trains the filters alone, and a later stage goes on with them.
    """

    Options = FilteredOptions
    has_parameters = has_views = True
    options: FilteredOptions
    pairs: Tensor
    scale: Tensor

    def __init__(
        self,
        shapes: Shapes,
        options: FilteredOptions | None = None,
        statistics: TeacherStatistics | None = None,
    ) -> None:
        super().__init__(shapes, options, statistics)
        own = self.options
        self.layers = layer_pairs(shapes, own)
        size, width = shapes.student.hidden_size, own.filter_size or shapes.teacher.hidden_size
        self.filters = nn.ModuleList(make_filter(size, width, own.filter_kind) for _ in self.layers)
        heads = self.layers if self._from_labels else ()
        self.heads = nn.ModuleList(nn.Linear(width, shapes.outputs) for _ in heads)
        self.register_buffer("pairs", torch.tensor(self.layers))
        spreads = [self.statistics.views.get(filtered(theirs)) for _, theirs in self.layers]
        factors = [
            scales(torch.ones(width) if spread is None else spread[1], own.normalisation)
            for spread in spreads
        ]
        self.register_buffer("scale", torch.stack(factors), persistent=False)

    @classmethod
    def teacher_request(cls, shapes: Shapes, options: LossOptions) -> OutputRequest:
        return OutputRequest(frozenset(map(filtered, teacher_layers(shapes, options))))

    @classmethod
    def student_request(cls, shapes: Shapes, options: LossOptions) -> OutputRequest:
        return OutputRequest(hidden_states(ours for ours, _ in layer_pairs(shapes, options)))

    @classmethod
    def views(cls, shapes: Shapes, options: LossOptions) -> dict[State, TeacherView]:
        """A filter for each teacher layer that some student layer is paired with."""
        assert isinstance(options, FilteredOptions)
        layers = teacher_layers(shapes, options)
        return {filtered(layer): TeacherFilter(shapes, options, layer) for layer in layers}

    @classmethod
    def problem(
        cls, options: LossOptions, teacher: Architecture, students: Collection[AnyArchitecture]
    ) -> str | None:
        """A mapping that does not fit; a decoder, whose outputs are no classes."""
        assert isinstance(options, FilteredOptions)
        if teacher.decoder:
            return "filtered reads an encoder alone, and the teacher has a decoder; leave it out"
        depths = {s.num_hidden_layers for s in students}
        return fixed_mapping_problem(options.mapping, teacher.num_hidden_layers, depths)

    @classmethod
    def reads_labels(cls, options: LossOptions) -> bool:
        assert isinstance(options, FilteredOptions)
        return options.filter_goal == "labels"

    @classmethod
    def needs_all_tokens(cls, options: LossOptions) -> bool:
        """Heads read the first token or all of them."""
        return cls.reads_labels(options)

    @property
    def _from_labels(self) -> bool:
        return self.options.filter_goal == "labels"

    def loss(self, output: ModelOutputs, batch: Batch, signal: ModelOutputs) -> Tensor:
        parts = []
        for i, (ours, theirs) in enumerate(self.layers):
            states = output.hidden(ours)
            if self._from_labels:
                pooling = self.options.filter_pooling
                logits = head_logits(self.filters[i], self.heads[i], states, batch, pooling)
                parts.append(task_loss(logits, batch))
            else:
                target = signal.states[filtered(theirs)].float() * self.scale[i]
                parts.append(squared_error(self.filters[i](states) * self.scale[i], target))
        return torch.stack(parts).mean()

    def count(self, batch: Batch) -> int:
        """Real tokens whose states are compared, or units with a label."""
        if not self._from_labels:
            return batch.compared_count
        assert batch.labels is not None
        return batch.task.count(batch.units, batch.labels)

    def fit(self, on: Fitting) -> None:
        """Sets linear filters that no earlier stage trained to the ridge regression."""

        def pairs(output: ModelOutputs, signal: ModelOutputs) -> Iterator[Pair]:
            for i, (ours, theirs) in enumerate(self.layers):
                yield i, output.hidden(ours), signal.states[filtered(theirs)].float()

        if not self._from_labels and self.options.filter_kind == "linear":
            fit_projections(self, self.filters, pairs, on)

    def learnt(self) -> dict[str, Tensor]:
        """The filters, and the layers that they are of; heads are thrown away."""
        state = self.state_dict()
        return {name: value for name, value in state.items() if not name.startswith("heads.")}


class TeacherFilter(TeacherView):
    """A filter on the output of one layer of the teacher.

    The paper's loss is the mean of such losses over layers. They share no parameters, so that each
    filter is learnt by itself and serves students of any depth.
    """

    options: FilteredOptions

    def __init__(self, shapes: Shapes, options: FilteredOptions, layer: int) -> None:
        width = options.filter_size or shapes.teacher.hidden_size
        epochs, lr = options.filter_epochs, options.filter_lr
        super().__init__(shapes, options, width=width, epochs=epochs, lr=lr)
        self.layer = layer
        self.of_teacher = OutputRequest(hidden_states([layer]))
        self.filter = make_filter(shapes.teacher.hidden_size, width, options.filter_kind)
        self.head = nn.Linear(width, shapes.outputs)

    @property
    def title(self) -> str:
        return f"filter of layer {self.layer}"

    @property
    def remedy(self) -> str:
        return f"lower filter_lr ({self.lr:g})"

    @property
    def key(self) -> dict[str, object]:
        own = self.options
        how = {"kind": own.filter_kind, "pooling": own.filter_pooling}
        return {"view": "filter", "layer": self.layer, "width": self.width, **how}

    @classmethod
    def needs_all_tokens(cls, options: LossOptions) -> bool:
        return True

    def loss(self, output: ModelOutputs, batch: Batch, signal: ModelOutputs) -> Tensor:
        states, pooling = signal.hidden(self.layer).float(), self.options.filter_pooling
        return task_loss(head_logits(self.filter, self.head, states, batch, pooling), batch)

    def count(self, batch: Batch) -> int:
        """Units with a label."""
        assert batch.labels is not None
        return batch.task.count(batch.units, batch.labels)

    def view(self, signal: ModelOutputs) -> Tensor:
        found: Tensor = self.filter(signal.hidden(self.layer).float())
        return found

    def learnt(self) -> dict[str, Tensor]:
        """The filter, and the spread of what it makes; the head is thrown away."""
        state = self.state_dict()
        return {name: value for name, value in state.items() if not name.startswith("head.")}


def filtered(layer: int) -> State:
    """What the filter of a teacher's layer makes of its states."""
    return State("filtered", layer)


def layer_pairs(shapes: Shapes, options: LossOptions) -> tuple[tuple[int, int], ...]:
    """Student layers with filters, each with the teacher layers that it is paired with."""
    assert isinstance(options, FilteredOptions)
    layer_map = LayerMap.of(options.mapping, *shapes.depths)
    every = zip(layer_map.student_layers, layer_map.targets, strict=True)
    last, interval = shapes.depths[0], options.filter_interval
    chosen = [pair for pair in every if (last - pair[0]) % interval == 0]
    return tuple((ours, layer) for ours, theirs in chosen for layer in dict.fromkeys(theirs))


def teacher_layers(shapes: Shapes, options: LossOptions) -> list[int]:
    """The teacher layers whose filtered states are read, ascending."""
    if FilteredLoss.reads_labels(options):
        return []
    return sorted({theirs for _, theirs in layer_pairs(shapes, options)})


def make_filter(size: int, width: int, kind: Kind) -> nn.Module:
    """A filter with random weights, from shape (..., size) to (..., width)."""
    if kind == "linear":
        return nn.Linear(size, width)
    return nn.Sequential(nn.Linear(size, width), nn.GELU(), nn.Linear(width, width))


def head_logits(
    own: nn.Module, head: nn.Module, states: Tensor, batch: Batch, pooling: Pooling
) -> Tensor:
    """What a head says of a filter's states, shape (units, outputs).

    A unit that has a position is that token. One that has none is its whole example: its first
    token or the mean of all. `states`, shape (tokens, size), are of every real token of the batch.
    """
    units, packing = batch.units, batch.packing
    if units.position is not None or pooling == "first":
        rows = packing.at(units.example, 0 if units.position is None else units.position)
        logits: Tensor = head(own(states.index_select(0, rows)))
        return logits.float()
    made = own(states).float()
    example = packing.cells[: len(made)] // packing.shape[1]
    sums = made.new_zeros(packing.shape[0], made.shape[1]).index_add(0, example, made)
    means = sums / torch.bincount(example, minlength=len(sums))[:, None]
    logits = head(means.index_select(0, units.example))
    return logits.float()
