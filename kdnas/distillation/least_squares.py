"""Ridge regression from sums over batches: a closed-form start for learnt projections."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Shares of the states' variance: what held-out sentences preferred (docs/results.md), more where
# few tokens would be learnt by heart.
RIDGE = 1e-2
FEW_TOKENS = 45


class LeastSquares:
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
