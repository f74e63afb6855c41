from __future__ import annotations

import pytest
import torch
from torch import nn

from kdnas.distillation.losses.projections import LeastSquares


def test_the_ridge_does_not_shrink_the_intercept() -> None:
    """States that explain nothing: the best prediction is the mean of the targets."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(500, 4, generator=generator) + 3
    targets = torch.full((500, 2), 5.0)
    sums, projection = LeastSquares(), nn.Linear(4, 2)
    with torch.no_grad():
        sums.add(states, targets)
        sums.solve_into(projection)
    assert projection.weight.abs().max() < 1e-4
    torch.testing.assert_close(projection.bias, targets[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("mean", "spread", "slope"),
    [(2.0, 1.0, 3 / (1.02 + 5 / 65536)), (1.0, 1e-3, 3 / (1.02 + 1000001 / 65536))],
)
def test_golden_ridge_regression(mean: float, spread: float, slope: float) -> None:
    """One input, targets 3 x + 1: slope 3 / (1 + 2 * share + (2^-8 root mean square / spread)^2).

    A thousandth is less than bf16 rounds a number by: next to nothing of it is learnt.
    """
    states = torch.tensor([[mean - spread], [mean + spread]], dtype=torch.float64).repeat(4500, 1)
    sums, projection = LeastSquares(), nn.Linear(1, 1)
    with torch.no_grad():
        sums.add(states, 3 * states + 1)
        sums.solve_into(projection)
    assert projection.weight.item() == pytest.approx(slope, rel=1e-5)
    assert projection.bias.item() == pytest.approx(3 * mean + 1 - mean * slope, rel=1e-5)
