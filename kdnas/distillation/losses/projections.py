"""Linear projections from a student's states to its teacher's, fitted by least squares."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from kdnas.distillation.forward import forward
from kdnas.distillation.losses.base import DistillationLoss, Fitting
from kdnas.distillation.outputs import ModelOutputs
from kdnas.distillation.precision import working_precision

# Shares of the states' variance: what held-out sentences preferred (docs/results/decisions.md),
# more where few tokens would be learnt by heart.
RIDGE = 1e-2
FEW_TOKENS = 45
# How far bf16 may round a state, as a share of it. What varies by less is no signal (a first token
# that hardly depends on its text); learnt all the same it takes large weights, and a bias against
# them, that any step of the student upsets.
ROUNDING = torch.finfo(torch.bfloat16).eps / 2

# The number of a projection, what it reads, and what it should say: a row a token each.
Pair = tuple[int, Tensor, Tensor]


@torch.no_grad()
def fit_projections(
    loss: DistillationLoss,
    projections: nn.ModuleList,
    pairs: Callable[[ModelOutputs, ModelOutputs], Iterable[Pair]],
    on: Fitting,
) -> None:
    """Sets linear maps to the ridge regression of what they should say on what they read.

    `pairs` gives both of the student's outputs and the teacher's signal for a batch; a map of which
    it gives none stays as it is.
    """
    if not len(projections):
        return
    sums = [LeastSquares() for _ in projections]
    with working_precision(on.student, on.runtime):
        for batch in on.batches:
            signal = on.source.fetch(batch, loss.of_teacher)
            with on.runtime.autocast():
                output = forward(on.student, batch, loss.of_student)
            for i, states, targets in pairs(output, signal):
                sums[i].add(states.float(), targets)
    for projection, total in zip(projections, sums, strict=True):
        assert isinstance(projection, nn.Linear)
        if total.tokens:
            total.solve_into(projection)


class LeastSquares:
    """Ridge regression with an intercept, from sums over batches: a closed-form start."""

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
        ridge += ROUNDING**2 * gram.diagonal()[:-1]
        weight = torch.linalg.solve(covariance + torch.diag(ridge), cross_covariance)
        projection.weight.copy_(weight.T)
        projection.bias.copy_(target_mean - mean @ weight)
