"""A closed-form start for the projections, so that training spends its steps on the student."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.distillation.batches import Batch
from kdnas.distillation.forward import forward
from kdnas.distillation.losses.table import HiddenLoss
from kdnas.distillation.precision import working_precision
from kdnas.distillation.signal import TeacherSignal
from kdnas.runtime.device import Runtime

# Shares of the states' variance: what held-out sentences preferred (docs/results.md), more where
# few tokens would be learnt by heart.
RIDGE = 1e-2
FEW_TOKENS = 45


@torch.no_grad()
def fit_projections(
    term: HiddenLoss,
    student: PreTrainedModel,
    batches: Iterable[Batch],
    source: TeacherSignal,
    runtime: Runtime,
) -> None:
    """Sets each projection to the ridge regression of its targets on the student's states.

    Layers that share a projection share one regression.
    """
    sums = [_Sums() for _ in term.projections]
    with working_precision(student, runtime):
        for batch in batches:
            signal = source.fetch(batch, term.of_teacher)
            with runtime.autocast():
                output = forward(student, batch, term.of_student)
            for i, layer in enumerate(term.layer_map.student_layers):
                states = output.hidden(layer).float()
                sums[i % len(sums)].add(states, term.target(i, signal))
    for projection, total in zip(term.projections, sums, strict=True):
        assert isinstance(projection, nn.Linear)
        total.solve_into(projection)


class _Sums:
    """Normal equations of a linear regression with an intercept."""

    def __init__(self) -> None:
        self.tokens = 0
        self.gram: Tensor | None = None
        self.cross: Tensor | None = None

    def add(self, states: Tensor, targets: Tensor) -> None:
        inputs = torch.cat([states, torch.ones_like(states[:, :1])], dim=1)
        self.tokens += len(states)
        gram, cross = inputs.T @ inputs, inputs.T @ targets
        self.gram = gram if self.gram is None else self.gram + gram
        self.cross = cross if self.cross is None else self.cross + cross

    def solve_into(self, projection: nn.Linear) -> None:
        assert self.gram is not None and self.cross is not None
        gram, cross = self.gram.cpu().double(), self.cross.cpu().double()
        # The last row and column hold sums. Centred, the intercept is outside the penalty.
        mean, target_mean = gram[-1, :-1] / self.tokens, cross[-1] / self.tokens
        covariance = gram[:-1, :-1] - self.tokens * torch.outer(mean, mean)
        cross_covariance = cross[:-1] - self.tokens * torch.outer(mean, target_mean)
        diagonal = covariance.diagonal().clamp_min(0)
        share = max(RIDGE, FEW_TOKENS / self.tokens)
        ridge = share * (diagonal + diagonal.mean().clamp_min(1e-12))
        weight = torch.linalg.solve(covariance + torch.diag(ridge), cross_covariance)
        projection.weight.copy_(weight.T)
        projection.bias.copy_(target_mean - mean @ weight)
