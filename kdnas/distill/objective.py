"""What training minimises: a weighted sum of terms over a student's outputs."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.distill.batches import Batch
from kdnas.distill.forward import Outputs, forward
from kdnas.distill.losses import logit_loss, scales, squared_error, task_loss
from kdnas.distill.mapping import LayerMap
from kdnas.distill.signal import Signal, TeacherSignal


class Term(nn.Module):
    """One loss. Subclasses say which teacher layers they read, and what of the student."""

    layers: tuple[int, ...] = ()
    reads_hidden = False
    reads_logits = False

    def loss(self, output: Outputs, batch: Batch, signal: Signal) -> Tensor:
        """A scalar, given the student's outputs and the teacher's signal for the same batch."""
        raise NotImplementedError


class TaskTerm(Term):
    """The task's own labels."""

    reads_logits = True

    def loss(self, output: Outputs, batch: Batch, signal: Signal) -> Tensor:
        """Cross-entropy or squared error."""
        assert batch.labels is not None and output.logits is not None
        return task_loss(output.logits, batch.labels)


class LogitTerm(Term):
    """The teacher's logits."""

    reads_logits = True

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def loss(self, output: Outputs, batch: Batch, signal: Signal) -> Tensor:
        """Hinton's soft-target loss."""
        assert signal.logits is not None and output.logits is not None
        return logit_loss(output.logits, signal.logits, self.temperature)


class HiddenTerm(Term):
    """The teacher's hidden states, through learnable projections (one a student layer).

    Student layer i predicts the teacher layers that the map gives for i, side by side, each centred
    and scaled so that a loss of 1 is what predicting the mean would earn. Where the
    map gives the same layer twice it is predicted once, unless student layers share a projection.

    Args:
        layer_map: Which teacher layers each student layer predicts.
        student_size: The student's hidden size.
        mean: Shape (teacher layers + 1, teacher hidden size), over the data's real tokens.
        variance: Same shape.
        normalisation: `layer`, `dimension` or `raw`.
        shared: One projection for all layers.
    """

    reads_hidden = True
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
        self.layers = layer_map.teacher_layers
        targets = layer_map.targets
        once = tuple(t[:1] if len(set(t)) == 1 else t for t in targets)
        self.targets = targets if shared else once
        widths = [len(target) * mean.shape[1] for target in self.targets]
        kept = widths[:1] if shared else widths
        self.projections = nn.ModuleList(nn.Linear(student_size, width) for width in kept)
        self.register_buffer("mean", mean.float().clone())
        factors = torch.stack([scales(row.float(), normalisation) for row in variance])
        self.register_buffer("scale", factors)

    def loss(self, output: Outputs, batch: Batch, signal: Signal) -> Tensor:
        """Mean over student layers of the normalised squared error, real tokens only."""
        errors = []
        for i, states in enumerate(output.hidden[1:]):
            predicted = self.projection(i)(states)
            error = squared_error(predicted, self.target(i, signal))
            errors.append(error / len(self.targets[i]))
        return torch.stack(errors).mean()

    def projection(self, i: int) -> nn.Module:
        """The projection of student layer i, counted from 0."""
        return self.projections[i if len(self.projections) > 1 else 0]

    def target(self, i: int, signal: Signal) -> Tensor:
        """What layer i should predict: shape (tokens, targets * teacher hidden size), float32."""
        layers, size = self.targets[i], self.mean.shape[1]
        first = signal.hidden[layers[0]]
        target = torch.empty(len(first), len(layers) * size, device=first.device)
        for layer, part in zip(layers, torch.split(target, size, dim=1), strict=True):
            part.copy_(signal.hidden[layer]).sub_(self.mean[layer]).mul_(self.scale[layer])
        return target


class Objective(nn.Module):
    """A weighted sum of terms.

    Args:
        terms: By name, each with its weight; a weight of 0 leaves the term out.
    """

    def __init__(self, terms: dict[str, tuple[float, Term]]) -> None:
        super().__init__()
        kept = {name: (weight, term) for name, (weight, term) in terms.items() if weight}
        self.weights = {name: weight for name, (weight, _) in kept.items()}
        self.terms = nn.ModuleDict({name: term for name, (_, term) in kept.items()})

    @property
    def layers(self) -> tuple[int, ...]:
        """Teacher layers that some term reads, ascending."""
        return tuple(sorted({layer for term in self._terms() for layer in term.layers}))

    def forward(
        self, student: PreTrainedModel, batch: Batch, source: TeacherSignal
    ) -> dict[str, Tensor]:
        """The student's losses on a batch by name, and their weighted sum as `total`."""
        signal = source.fetch(batch, self.layers)
        terms = list(self._terms())
        output = forward(
            student,
            batch,
            hidden=any(term.reads_hidden for term in terms),
            logits=any(term.reads_logits for term in terms),
        )
        losses = {name: self._term(name).loss(output, batch, signal) for name in self.weights}
        total = sum(weight * losses[name] for name, weight in self.weights.items())
        return {**losses, "total": torch.as_tensor(total)}

    def _terms(self) -> Iterable[Term]:
        return (self._term(name) for name in self.weights)

    def _term(self, name: str) -> Term:
        term = self.terms[name]
        assert isinstance(term, Term)
        return term
