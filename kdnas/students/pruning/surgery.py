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
# Columns whose removals are applied to the matrices together.
TOGETHER = 64


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
    weight, inverse = weight.double().clone(), _inverse(hessian.double())
    structures = structures.to(weight.device)
    several = _blocks_in_order if structures.shape[1] > 1 else _columns_in_order
    order, costs = several(weight, inverse, structures)
    return Removal(torch.stack(order).cpu(), torch.stack(costs).cpu())


def _blocks_in_order(
    weight: Tensor, inverse: Tensor, structures: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """Numbers and costs of structures of several columns; both matrices are used up."""
    left = torch.arange(len(structures), device=weight.device)
    order, costs = [], []
    while len(left):
        found = removal_costs(weight, inverse, structures[left])
        first = int(found.argmin())
        order.append(left[first])
        costs.append(found[first])
        remove(weight, inverse, structures[left[first]])
        left = left[torch.arange(len(left), device=left.device) != first]
    return order, costs


def _columns_in_order(
    weight: Tensor, inverse: Tensor, structures: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """The same for structures of one column, of which there are many.

    Removals change the matrices by `w u^T` and `u u^T` each. Those of some removals are applied
    together, as one product; meanwhile costs need the inverse's diagonal and the columns' norms
    alone.
    """
    columns, numbers = structures[:, 0], torch.arange(len(structures), device=weight.device)
    order: list[Tensor] = []
    costs: list[Tensor] = []
    while len(columns):
        count = min(TOGETHER, len(columns))
        gone, spent, us, ws = _some_columns(weight, inverse, columns, count)
        order += [numbers[place] for place in gone]
        costs += spent
        weight -= ws @ us.T
        inverse -= us @ us.T
        stays = torch.ones(len(inverse), dtype=torch.bool, device=inverse.device)
        stays[columns[gone]] = False
        places = stays.cumsum(0) - 1
        weight, inverse = weight[:, stays], inverse[stays][:, stays]
        numbers, columns = numbers[stays[columns]], places[columns[stays[columns]]]
    return order, costs


def _some_columns(
    weight: Tensor, inverse: Tensor, columns: Tensor, count: int
) -> tuple[list[int], list[Tensor], Tensor, Tensor]:
    """The next columns to go: their places, their costs, and what changes the matrices."""
    diagonal, squares = inverse.diagonal().clone(), weight.square().sum(0)
    us, ws = inverse.new_zeros(len(inverse), count), weight.new_zeros(len(weight), count)
    left = torch.ones(len(columns), dtype=torch.bool, device=weight.device)
    gone, spent = [], []
    for step in range(count):
        found = squares[columns].clamp_min(0) / diagonal[columns].clamp_min(1e-300)
        place = int(torch.where(left, found, torch.inf).argmin())
        column = columns[place]
        gone.append(place)
        spent.append(found[place])
        left[place] = False
        u = inverse[:, column] - us[:, :step] @ us[column, :step]
        w = weight[:, column] - ws[:, :step] @ us[column, :step]
        root = u[column].clamp_min(1e-300).sqrt()
        u, w = u / root, w / root
        # Of the weights as they are now, times w.
        along = w @ weight - (w @ ws[:, :step]) @ us[:, :step].T
        squares += u * (u * w.square().sum() - 2 * along)
        diagonal -= u.square()
        us[:, step], ws[:, step] = u, w
    return gone, spent, us, ws


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
