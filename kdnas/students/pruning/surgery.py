"""Columns of a weight matrix that go one structure at a time, and what the others take over.

Kurtic, Frantar, Alistarh 2023, ZipLM: Inference-Aware Structured Pruning of Language Models, after
the optimal brain surgeon (Hassibi, Stork 1993). A matrix W, shape (outputs, inputs), reads inputs
X, shape (inputs, tokens); with `Hess = 2 X X^T + damping` the squared error of its outputs grows
least where the structure M with the least `sum_i W[i,M] (Hinv[M,M])^-1 W[i,M]^T` goes, and the
other columns become `W - W[:,M] (Hinv[M,M])^-1 Hinv[M,:]`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

DAMPING = 1e-3  # of the mean of the diagonal
# Matrices are copied without what is gone once this share of their columns is.
GONE = 0.25


@dataclass(frozen=True)
class Removal:
    """The order in which structures go.

    Attributes:
        order: Shape (structures,): their numbers, the first to go first.
        costs: Shape (structures,): what each costs when it goes.
    """

    order: Tensor
    costs: Tensor

    @property
    def damage(self) -> Tensor:
        """With 0, 1, ... structures left: their share of what it costs to lose all."""
        lost = torch.cat([self.costs.new_zeros(1), self.costs.clamp_min(0).cumsum(0)])
        return (lost / lost[-1].clamp_min(1e-30)).flip(0)

    def kept(self, count: int) -> list[int]:
        """The numbers of the structures that are left last."""
        return sorted(self.order[len(self.order) - count :].tolist())


def damped(products: Tensor, damping: float = DAMPING, inputs: int | None = None) -> Tensor:
    """`2 X X^T` with a share of its mean diagonal added to the diagonal.

    Args:
        products: `X X^T`, shape (inputs, inputs).
        damping: The share.
        inputs: The mean is that of so many first ones; default: all.
    """
    hessian = 2 * products.double()
    mean = hessian.diagonal()[:inputs].mean().clamp_min(1e-12)
    hessian.diagonal().add_(damping * mean)
    return hessian


def removal_costs(weight: Tensor, inverse: Tensor, structures: Tensor) -> Tensor:
    """What each structure costs.

    Golden: W = [[1, 2], [3, 4]], Hess = [[2, 1], [1, 2]]: column 1 costs 10 * 1.5 = 15.

    Args:
        weight: Shape (outputs, inputs).
        inverse: The inverse of the Hessian, shape (inputs, inputs).
        structures: The columns of each, shape (structures, size).
    """
    if structures.shape[1] == 1:
        columns = structures[:, 0]
        return weight[:, columns].square().sum(0) / inverse.diagonal()[columns]
    blocks = torch.linalg.inv(inverse[structures[:, :, None], structures[:, None, :]])
    own = weight[:, structures]
    return torch.einsum("osi,sij,osj->s", own, blocks, own)


def remove(weight: Tensor, inverse: Tensor, columns: Tensor) -> None:
    """Removes a structure in place: the other columns make up for it, its own become 0.

    Golden: as above; column 2 becomes [2.5, 5.5].
    """
    rows = inverse[columns]
    solved = torch.linalg.solve(inverse[columns[:, None], columns], rows)
    weight -= weight[:, columns] @ solved
    inverse -= inverse[:, columns] @ solved
    weight[:, columns] = 0
    inverse[columns] = 0
    inverse[:, columns] = 0


def removal_order(weight: Tensor, hessian: Tensor, structures: Tensor) -> Removal:
    """All structures, one after the other, the cheapest first; of equals, the first.

    Args:
        weight: Shape (outputs, inputs); not changed.
        hessian: Shape (inputs, inputs).
        structures: The columns of each, shape (structures, size); columns in none of them, such
            as a bias, stay.
    """
    weight = weight.double().clone()
    inverse = _inverse(hessian.double())
    left = torch.arange(len(structures), device=weight.device)
    columns = structures.to(weight.device)
    order, costs = [], []
    while len(left):
        found = removal_costs(weight, inverse, columns)
        first = int(found.argmin())
        order.append(left[first])
        costs.append(found[first])
        remove(weight, inverse, columns[first])
        keep = torch.arange(len(left), device=left.device) != first
        left, columns = left[keep], columns[keep]
        if len(left) and columns.numel() < (1 - GONE) * len(inverse):
            weight, inverse, columns = _compact(weight, inverse, columns)
    return Removal(torch.stack(order).cpu(), torch.stack(costs).cpu())


def best_weight(weight: Tensor, hessian: Tensor, columns: Tensor) -> Tensor:
    """The weights of some columns once all others are gone, shape (outputs, columns).

    What removals one at a time lead to, whatever their order: `W Hess[:,K] (Hess[K,K])^-1`.
    """
    whole = hessian.double()
    kept = columns.to(whole.device)
    target = weight.double() @ whole[:, kept]
    found: Tensor = torch.linalg.solve(whole[kept[:, None], kept], target, left=False)
    return found


def _inverse(hessian: Tensor) -> Tensor:
    """Of a symmetric, positive matrix."""
    return torch.cholesky_inverse(torch.linalg.cholesky(hessian))


def _compact(weight: Tensor, inverse: Tensor, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same without columns that are gone, which are 0 in both matrices."""
    there = inverse.diagonal() > 0
    places = there.cumsum(0) - 1
    return weight[:, there], inverse[there][:, there].contiguous(), places[columns]
