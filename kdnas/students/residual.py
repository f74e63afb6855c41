"""The residual stream of a narrower student: its basis, in the teacher's dimensions.

After Ashkboos et al. 2024, SliceGPT: principal components keep more of the states' variance than
any choice of single dimensions. A normalisation gives all its outputs together the same length,
whatever their number; the gain makes up for it, so that kept directions keep their size.
"""

from __future__ import annotations

import torch
from torch import Tensor


def principal_basis(covariance: Tensor, size: int) -> tuple[Tensor, float]:
    """The directions along which states vary most.

    Args:
        covariance: Shape (teacher hidden size, teacher hidden size).
        size: The student's hidden size.

    Returns:
        The basis, shape (teacher hidden size, size), and the gain of normalisations in it.
    """
    variances, directions = torch.linalg.eigh(covariance.double())
    kept = float(variances[-size:].sum() / variances.sum())
    basis = directions.flip(1)[:, :size]
    # Of a direction and its opposite, the one whose largest entry is positive: for all machines.
    basis = basis * basis.gather(0, basis.abs().argmax(0, keepdim=True)).sign()
    return basis.float(), (kept * len(variances) / size) ** 0.5


def chosen_basis(spread: Tensor, size: int) -> tuple[Tensor, float]:
    """The single dimensions along which states vary most.

    Args:
        spread: Shape (teacher hidden size,).
        size: The student's hidden size.

    Returns:
        As `principal_basis`.
    """
    chosen = top(spread, size)
    kept = float(spread[chosen].sum() / spread.sum())
    return torch.eye(len(spread))[:, chosen], (kept * len(spread) / size) ** 0.5


def hidden_spread(weights: dict[str, Tensor], hidden_size: int) -> Tensor:
    """How much hidden dimensions vary, judged by weights: shape (hidden size,)."""
    table = next(w for n, w in weights.items() if n.endswith("word_embeddings.weight"))
    if table.shape[1] == hidden_size:
        return table.var(dim=0)
    first = next(w for w in weights.values() if w.ndim == 2 and w.shape[0] == hidden_size)
    norms: Tensor = first.norm(dim=1)
    return norms


def top(importance: Tensor, count: int) -> Tensor:
    """Indices of the largest values of the last axis, ascending; of equals, the first."""
    order = importance.argsort(dim=-1, descending=True, stable=True)
    return order[..., :count].sort(dim=-1).values
