"""The losses on hidden states and on the embeddings' output, through learnt projections."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from kdnas.config.choices import Normalisation
from kdnas.config.layer_mapping import LayerMapping, MapName, mapping_in_words
from kdnas.distillation.batches import Batch
from kdnas.distillation.layer_map import LayerMap, mapping_problem
from kdnas.distillation.losses.base import (
    DistillationLoss,
    Fitting,
    LossOptions,
    Shapes,
    TeacherStatistics,
    no_decoder,
    stacks_at,
)
from kdnas.distillation.losses.layer_weights import LayerWeights
from kdnas.distillation.losses.projections import Pair, fit_projections
from kdnas.distillation.outputs import ModelOutputs, OutputRequest, hidden_states
from kdnas.space.architecture import Architecture
from kdnas.space.pruned import AnyArchitecture

# The layers of the score where those of the training are learnt.
DEFAULT: MapName = "skip+last"


class HiddenOptions(LossOptions):
    """Options of `hidden` and `embeddings`; the defaults are the run's settings."""

    mapping: LayerMapping = Field(default=DEFAULT, description="Teacher layers to learn from.")
    normalisation: Normalisation = Field(
        default="layer",
        description="Share of variance left unexplained per layer, per dimension, or the raw MSE.",
    )
    shared_projection: bool = Field(default=False, description="One projection for all layers.")

    @property
    def is_learned(self) -> bool:
        """Whether which layers count is learnt."""
        return self.mapping == "learned"


class HiddenLoss(DistillationLoss):
    """Hidden states: each student layer predicts its teacher layers through a projection.

    A student layer's targets stand side by side, centred and scaled so that predicting the mean
    costs 1; the loss is a mean over student layers, and for each a mean over real tokens. Where the
    map gives a layer the same target twice, it predicts it once, unless layers share a projection.

    With the mapping `learned`, a layer's target is the sum of all teacher layers, weighted as
    `LayerWeights` says and divided by its own standard deviation, so that a sum of unlike layers,
    which cancel out, is not easier to predict. Since a candidate has a say in that target, its
    score is that of the mapping `skip+last`, through projections fitted in the end.
    """

    Options = HiddenOptions
    has_parameters = True
    name: ClassVar[str] = "hidden"
    options: HiddenOptions
    scale: Tensor
    mean: Tensor
    layers: Tensor

    def __init__(
        self,
        shapes: Shapes,
        options: HiddenOptions | None = None,
        statistics: TeacherStatistics | None = None,
    ) -> None:
        super().__init__(shapes, options, statistics)
        shared = self.options.shared_projection
        self.layer_map = self.map_layers(shapes, self.options)
        targets = self.layer_map.targets
        once = tuple(t[:1] if len(set(t)) == 1 else t for t in targets)
        self.targets = targets if shared else once
        self.weights: LayerWeights | None = None
        parts = [len(target) for target in self.targets]
        if self.layer_map.learned:
            depth = shapes.of(self.place).teacher.num_hidden_layers
            self.weights = LayerWeights(len(targets), depth)
            parts = [1] * len(targets)
        widths = [count * shapes.teacher.hidden_size for count in parts]
        sizes = widths[:1] if shared else widths
        self.projections = nn.ModuleList(nn.Linear(shapes.student.hidden_size, n) for n in sizes)
        mean, variances = self.statistics.of(self.place)
        self.register_buffer("mean", mean.float().clone())
        normalisation = self.options.normalisation
        factors = torch.stack([scales(row, normalisation) for row in variances.float()])
        self.register_buffer("scale", factors)
        self.register_buffer("layers", torch.tensor(self.layer_map.rows))

    @classmethod
    def map_layers(cls, shapes: Shapes, options: LossOptions) -> LayerMap:
        """Which teacher layers each student layer predicts."""
        assert isinstance(options, HiddenOptions)
        return LayerMap.of(options.mapping, *shapes.of(cls.place).depths)

    @classmethod
    def teacher_request(cls, shapes: Shapes, options: LossOptions) -> OutputRequest:
        layers = cls.map_layers(shapes, options).teacher_layers
        return OutputRequest(hidden_states(layers, cls.place))

    @classmethod
    def student_request(cls, shapes: Shapes, options: LossOptions) -> OutputRequest:
        layers = cls.map_layers(shapes, options).student_layers
        return OutputRequest(hidden_states(layers, cls.place))

    @classmethod
    def scoring_options(cls, options: LossOptions) -> LossOptions:
        """In place of a learnt map, which a candidate could make easy, the default one."""
        assert isinstance(options, HiddenOptions)
        return options.model_copy(update={"mapping": DEFAULT}) if options.is_learned else options

    @classmethod
    def problem(
        cls, options: LossOptions, teacher: Architecture, students: Collection[AnyArchitecture]
    ) -> str | None:
        """A mapping that does not fit, or cannot share a projection; no decoder."""
        assert isinstance(options, HiddenOptions)
        if problem := no_decoder(cls.name, cls.place, teacher):
            return problem
        teacher, students = stacks_at(cls.place, teacher, students)
        mapping, depths = options.mapping, {s.num_hidden_layers for s in students}
        lists = mapping.values() if isinstance(mapping, dict) else ()
        counts = {len(target) for targets in lists for target in targets}
        if len(counts) > 1 and options.shared_projection:
            return (
                f"invalid mapping {mapping_in_words(mapping)}: layers that share a projection need "
                "equally many teacher layers each; leave shared_projection out"
            )
        return mapping_problem(mapping, teacher.num_hidden_layers, depths)

    def loss(self, output: ModelOutputs, batch: Batch, signal: ModelOutputs) -> Tensor:
        errors = []
        for i, (layer, target) in enumerate(self.pairs(signal)):
            predicted = self.projection(i)(output.hidden(layer, self.place))
            if self.weights is None:
                errors.append(squared_error(predicted, target) / len(self.targets[i]))
            else:  # targets take a gradient
                error = (predicted.float() - target).square().sum()
                errors.append(error / max(1, len(target)))
        return torch.stack(errors).mean()

    def heldout_value(self, output: ModelOutputs, batch: Batch, signal: ModelOutputs) -> Tensor:
        """How much of the teacher's last layer the student's last leaves unexplained.

        Students of other depths learn from other layers, some of which are easier to predict than
        others: a mean over them says more of the depth than of the student. Where the map leads
        elsewhere, it is that mean.
        """
        if not self.is_scored_by_last:
            return self.loss(output, batch, signal)
        last, depth = len(self.targets) - 1, len(self.mean) - 1
        size, at = self.mean.shape[1], self.targets[last].index(depth)
        part = slice(at * size, (at + 1) * size)
        layer = self.layer_map.student_layers[last]
        predicted = self.projection(last)(output.hidden(layer, self.place))
        return squared_error(predicted[:, part], self.target(last, signal)[:, part])

    @property
    def is_scored_by_last(self) -> bool:
        """Whether the map leads from the student's last layer to the teacher's."""
        return self.weights is None and len(self.mean) - 1 in self.targets[-1]

    def count(self, batch: Batch) -> int:
        """Real tokens whose states are compared."""
        return batch.compared_count if self.place == "encoder" else len(batch.units)

    def fit(self, on: Fitting) -> None:
        """Sets projections to the ridge regression of their targets on the student's states."""
        if self.weights is not None and self.options.normalisation != "raw":
            signals = (on.source.fetch(batch, self.of_teacher) for batch in on.batches)
            self.weights.measure(self.standardised(signal) for signal in signals)
        self._fit(range(len(self.targets)), on)

    def fit_for_score(self, on: Fitting) -> None:
        """Of a score by the last layers, sets their projection alone, unless all share one."""
        if self.is_scored_by_last and not self.options.shared_projection:
            self._fit([len(self.targets) - 1], on)
        else:
            self.fit(on)

    def continues(self, state: dict[str, Tensor]) -> bool:
        """Also what was learnt by another normalisation does not fit.

        Projections, and the weights of a learnt map, are those of targets in one scale; in another
        they would have everything to learn again, and what is fitted to the student is nearer.
        Where it is the same, they go on with the mean and the scale that they know.
        """
        # The scale says which it was, also in files that were written before this was asked.
        return super().continues(state) and kind_of(state["scale"]) == kind_of(self.scale)

    def _fit(self, which: Collection[int], on: Fitting) -> None:
        """Fits the projections of these of the map's student layers, counted from 0."""

        def pairs(output: ModelOutputs, signal: ModelOutputs) -> Iterator[Pair]:
            for i, (layer, target) in enumerate(self.pairs(signal)):
                if i in which:
                    yield i % len(self.projections), output.hidden(layer, self.place), target

        fit_projections(self, self.projections, pairs, on)

    def projection(self, i: int) -> nn.Module:
        """The projection of the map's student layer i, counted from 0."""
        return self.projections[i if len(self.projections) > 1 else 0]

    def pairs(self, signal: ModelOutputs) -> Iterator[tuple[int, Tensor]]:
        """Each student layer with what it predicts."""
        if self.weights is None:
            targets = (self.target(i, signal) for i in range(len(self.targets)))
        else:
            states, raw = self.standardised(signal), self.options.normalisation == "raw"
            rows = self.weights() if raw else self.weights.of_unit_variance()
            targets = (torch.einsum("j,jtd->td", row, states) for row in rows)
        return zip(self.layer_map.student_layers, targets, strict=True)

    def standardised(self, signal: ModelOutputs) -> Tensor:
        """All that a learnt map weighs, shape (teacher layers, tokens, hidden size), float32."""
        layers = self.layer_map.teacher_layers
        centred = (
            (signal.hidden(j, self.place).float() - self.mean[j]) * self.scale[j] for j in layers
        )
        return torch.stack(list(centred))

    def target(self, i: int, signal: ModelOutputs) -> Tensor:
        """The layers that one predicts: shape (tokens, targets * teacher hidden size), float32."""
        layers, size = self.targets[i], self.mean.shape[1]
        first = signal.hidden(layers[0], self.place)
        target = torch.empty(len(first), len(layers) * size, device=first.device)
        for layer, part in zip(layers, torch.split(target, size, dim=1), strict=True):
            part.copy_(signal.hidden(layer, self.place)).sub_(self.mean[layer]).mul_(
                self.scale[layer]
            )
        return target


class EmbeddingsLoss(HiddenLoss):
    """The student's embeddings against the teacher's. Jiao et al. 2020, TinyBERT."""

    name = "embeddings"
    trains_embeddings = True

    @classmethod
    def problem(
        cls, options: LossOptions, teacher: Architecture, students: Collection[AnyArchitecture]
    ) -> str | None:
        """None where there are such embeddings: the mapping is of layers."""
        return no_decoder(cls.name, cls.place, teacher)

    @classmethod
    def map_layers(cls, shapes: Shapes, options: LossOptions) -> LayerMap:
        return LayerMap(((0,),), first=0)


class _SquaredError(torch.autograd.Function):
    """Squared error, summed over dimensions and averaged over tokens.

    Of predictions and float32 targets, shape (tokens, dimensions) each; only the former take a
    gradient. Of targets scaled by `scales` it is the share of variance left unexplained. One fp32
    buffer where autograd's chain of small steps would fill four.
    """

    @staticmethod
    def forward(ctx: Any, predicted: Tensor, target: Tensor) -> Tensor:
        error = target - predicted
        ctx.save_for_backward(error)
        ctx.dtype = predicted.dtype
        return torch.dot(error.flatten(), error.flatten()) / max(1, len(error))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (error,) = ctx.saved_tensors
        return (error * (gradients[0] * (-2 / max(1, len(error))))).to(ctx.dtype), None


squared_error: Callable[[Tensor, Tensor], Tensor] = _SquaredError.apply


def scales(variance: Tensor, normalisation: Normalisation) -> Tensor:
    """Factors for centred hidden states that turn squared errors into the normalised loss.

    - `layer`: the share of the layer's total variance left unexplained.
    - `dimension`: the share of each dimension's variance, averaged over dimensions.
    - `raw`: the plain mean squared error.

    `variance`, shape (hidden size,), is over the data's real tokens.
    """
    count = len(variance)
    if normalisation == "raw":
        return torch.full_like(variance, count**-0.5)
    if normalisation == "layer":
        return variance.sum().clamp_min(1e-12).rsqrt().expand(count).clone()
    return (variance.clamp_min(1e-6 * float(variance.mean()) + 1e-12) * count).rsqrt()


def kind_of(factors: Tensor) -> Normalisation:
    """The normalisation that `scales` made factors by, shape (layers, hidden size)."""
    if not torch.equal(factors, factors[:, :1].expand_as(factors)):
        return "dimension"
    raw = scales(torch.ones_like(factors[0]), "raw")
    return "raw" if torch.equal(factors, raw.expand_as(factors)) else "layer"
