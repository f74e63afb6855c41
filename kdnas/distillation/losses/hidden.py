"""The losses on hidden states and on the embeddings' output, through learnt projections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.config.choices import LayerMapping, Normalisation
from kdnas.distillation.batches import Batch
from kdnas.distillation.layer_map import LayerMap
from kdnas.distillation.losses.base import DistillationLoss, LossOptions, Shapes, TeacherStatistics
from kdnas.distillation.losses.projections import fit_projections
from kdnas.distillation.outputs import ModelOutputs, OutputRequest, TeacherSignal, hidden_states
from kdnas.runtime.device import Runtime


class HiddenOptions(LossOptions):
    """Options of `hidden` and `embeddings`; the defaults are the run's settings."""

    mapping: LayerMapping = Field(default="skip+last", description="Teacher layers to learn from.")
    normalisation: Normalisation = Field(
        default="layer",
        description="Share of variance left unexplained per layer, per dimension, or the raw MSE.",
    )
    shared_projection: bool = Field(default=False, description="One projection for all layers.")


class HiddenLoss(DistillationLoss):
    """Hidden states: each student layer predicts its teacher layers through a projection.

    A student layer's targets stand side by side, centred and scaled so that predicting the mean
    costs 1; the loss is a mean over student layers, and for each a mean over real tokens. Where the
    map gives a layer the same target twice, it predicts it once, unless layers share a projection.
    """

    Options = HiddenOptions
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
        widths = [len(target) * shapes.teacher.hidden_size for target in self.targets]
        sizes = widths[:1] if shared else widths
        self.projections = nn.ModuleList(nn.Linear(shapes.student.hidden_size, n) for n in sizes)
        self.register_buffer("mean", self.statistics.mean.float().clone())
        variances = self.statistics.variance.float()
        factors = torch.stack([scales(row, self.options.normalisation) for row in variances])
        self.register_buffer("scale", factors)
        self.register_buffer("layers", torch.tensor(targets))

    @classmethod
    def map_layers(cls, shapes: Shapes, options: LossOptions) -> LayerMap:
        """Which teacher layers each student layer predicts."""
        assert isinstance(options, HiddenOptions)
        depths = shapes.student.num_hidden_layers, shapes.teacher.num_hidden_layers
        return LayerMap.named(options.mapping, *depths)

    @classmethod
    def teacher_request(cls, shapes: Shapes, options: LossOptions) -> OutputRequest:
        return OutputRequest(hidden_states(cls.map_layers(shapes, options).teacher_layers))

    @classmethod
    def student_request(cls, shapes: Shapes, options: LossOptions) -> OutputRequest:
        return OutputRequest(hidden_states(cls.map_layers(shapes, options).student_layers))

    def loss(self, output: ModelOutputs, batch: Batch, signal: ModelOutputs) -> Tensor:
        errors = []
        for i, layer in enumerate(self.layer_map.student_layers):
            predicted = self.projection(i)(output.hidden(layer))
            error = squared_error(predicted, self.target(i, signal))
            errors.append(error / len(self.targets[i]))
        return torch.stack(errors).mean()

    def count(self, batch: Batch) -> int:
        """Real tokens whose states are compared."""
        return batch.compared_count

    def fit(
        self,
        student: PreTrainedModel,
        batches: Iterable[Batch],
        source: TeacherSignal,
        runtime: Runtime,
    ) -> None:
        """Sets projections to the ridge regression of their targets on the student's states."""

        def pairs(
            output: ModelOutputs, signal: ModelOutputs
        ) -> Iterator[tuple[int, Tensor, Tensor]]:
            for i, layer in enumerate(self.layer_map.student_layers):
                yield i % len(self.projections), output.hidden(layer), self.target(i, signal)

        fit_projections(self, self.projections, pairs, student, batches, source, runtime)

    def continues(self, state: dict[str, Tensor]) -> bool:
        """Names, shapes and the map of layers must be the same."""
        return super().continues(state) and bool((state["layers"].cpu() == self.layers.cpu()).all())

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


class EmbeddingsLoss(HiddenLoss):
    """The student's embeddings against the teacher's. Jiao et al. 2020, TinyBERT."""

    trains_embeddings = True

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
