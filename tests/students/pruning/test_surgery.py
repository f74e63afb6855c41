"""ZipLM's removals: golden values, and the best that least squares can do."""

from __future__ import annotations

import pytest
import torch

from kdnas.students.pruning import surgery
from kdnas.students.pruning.surgery import (
    Removal,
    best_weight,
    damped,
    removal_costs,
    removal_order,
    remove,
)

WEIGHT = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.double)
HESSIAN = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.double)
SINGLE = torch.tensor([[0], [1]])


def test_golden_cost_and_correction() -> None:
    inverse = torch.linalg.inv(HESSIAN)
    torch.testing.assert_close(inverse, torch.tensor([[2.0, -1.0], [-1.0, 2.0]]).double() / 3)
    costs = removal_costs(WEIGHT, inverse, SINGLE)
    torch.testing.assert_close(costs, torch.tensor([15.0, 30.0]).double())
    weight = WEIGHT.clone()
    remove(weight, inverse, torch.tensor([0]))
    torch.testing.assert_close(weight, torch.tensor([[0.0, 2.5], [0.0, 5.5]]).double())
    torch.testing.assert_close(inverse, torch.tensor([[0.0, 0.0], [0.0, 0.5]]).double())
    found = best_weight(WEIGHT, HESSIAN, torch.tensor([1]))
    torch.testing.assert_close(found, torch.tensor([[2.5], [5.5]]).double())


def test_golden_order() -> None:
    """Column 1 costs 15; what is left then costs 2 * (2.5^2 + 5.5^2) = 73."""
    removal = removal_order(WEIGHT, HESSIAN, SINGLE)
    assert removal.order.tolist() == [0, 1]
    torch.testing.assert_close(removal.costs, torch.tensor([15.0, 73.0]).double())
    torch.testing.assert_close(removal.damage, torch.tensor([1, 15 / 88, 0]).double())
    assert removal.kept(1) == [1] and removal.kept(0) == [] and removal.kept(2) == [0, 1]


def problem(inputs: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    mixed = torch.randn(inputs, inputs).double() @ torch.randn(inputs, 200).double()
    return torch.randn(5, inputs).double(), mixed


@pytest.mark.parametrize(("size", "together"), [(1, 64), (1, 5), (1, 1), (4, 64)])
def test_one_at_a_time_is_least_squares(
    size: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Costs add up to the error of the best weights, however many are applied together."""
    monkeypatch.setattr(surgery, "TOGETHER", together)
    weight, inputs = problem()
    hessian = damped(inputs @ inputs.T, damping=0)
    structures = torch.arange(24).view(-1, size)
    removal = removal_order(weight, hessian, structures)
    assert sorted(removal.order.tolist()) == list(range(24 // size))
    for left in (24 // size - 1, 3, 1):
        columns = torch.cat([structures[unit] for unit in removal.kept(left)])
        best = torch.linalg.lstsq(inputs[columns].T, (weight @ inputs).T).solution.T
        found = best_weight(weight, hessian, columns)
        torch.testing.assert_close(found, best, rtol=1e-6, atol=1e-8)
        error = 2 * (weight @ inputs - best @ inputs[columns]).square().sum()
        torch.testing.assert_close(removal.costs[: 24 // size - left].sum(), error)
    whole = 2 * (weight @ inputs).square().sum()
    torch.testing.assert_close(removal.costs.sum(), whole)
    assert removal.damage[0] == 1 and removal.damage[-1] == 0
    assert (removal.damage.diff() <= 1e-12).all()


@pytest.mark.parametrize("together", [64, 4])
def test_each_goes_when_it_is_the_cheapest(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surgery, "TOGETHER", together)
    weight, inputs = problem(12)
    hessian = damped(inputs @ inputs.T)
    order = removal_order(weight, hessian, torch.arange(12)[:, None]).order.tolist()
    left = list(range(12))
    for gone in order:
        errors = {}
        for one in left:
            rest = torch.tensor([i for i in left if i != one], dtype=torch.long)
            best = torch.zeros_like(weight)
            best[:, rest] = best_weight(weight, hessian, rest)
            change = best - weight
            errors[one] = float((change @ hessian * change).sum())
        assert min(errors, key=lambda unit: errors[unit]) == gone
        left.remove(gone)


def test_columns_of_no_structure_stay_and_make_up() -> None:
    """A bias: its input is 1 at every token."""
    weight, inputs = problem(8)
    inputs = torch.cat([inputs[:7] + 3, torch.ones(1, 200)])
    hessian = damped(inputs @ inputs.T, damping=0)
    removal = removal_order(weight, hessian, torch.arange(7)[:, None])
    assert sorted(removal.order.tolist()) == list(range(7))
    alone = best_weight(weight, hessian, torch.tensor([7]))
    torch.testing.assert_close(alone[:, 0], (weight @ inputs).mean(1))


def test_damping_is_a_share_of_the_mean_diagonal() -> None:
    found = damped(torch.tensor([[1.0, 2.0], [2.0, 5.0]]), damping=0.5)
    torch.testing.assert_close(found, torch.tensor([[5.0, 4.0], [4.0, 13.0]]).double())


def test_nothing_costs_nothing() -> None:
    removal = Removal(torch.tensor([0, 1]), torch.zeros(2).double())
    assert removal.damage.tolist() == [0, 0, 0]
