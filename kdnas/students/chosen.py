"""What a smaller student keeps of its teacher: directions, dimensions, heads and rows."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from kdnas.space.architecture import Architecture


def principal_basis(spectrum: tuple[Tensor, Tensor], size: int) -> tuple[Tensor, float]:
    """The directions along which states vary most, from the spectrum of their covariance.

    Returns:
        The basis, shape (teacher hidden size, size), and the gain of normalisations in it.
    """
    variances, directions = spectrum
    share = float(variances[-size:].sum() / variances.sum())
    basis = directions.flip(1)[:, :size]
    # Of a direction and its opposite, the one whose largest entry is positive: for all machines.
    basis = basis * basis.gather(0, basis.abs().argmax(0, keepdim=True)).sign()
    return basis.float(), (share * len(variances) / size) ** 0.5


def centred_basis(covariance: Tensor, size: int) -> Tensor:
    """As `principal_basis`, of streams that are read through norms which subtract a mean.

    The mean over the teacher's dimensions becomes the mean over the student's, so that both norms
    lose the same; the other directions are the principal ones of what is left.
    """
    whole = len(covariance)
    mean = torch.full((whole, 1), whole**-0.5, dtype=torch.float64)
    left = without_mean(covariance)
    _, directions = torch.linalg.eigh(left - left.trace() * mean @ mean.T)
    principal = directions.flip(1)[:, : size - 1]
    principal = principal * principal.gather(0, principal.abs().argmax(0, keepdim=True)).sign()
    basis = torch.cat([mean, principal], dim=1) @ reflection_to_mean(size)
    return basis.float()


def without_mean(covariance: Tensor) -> Tensor:
    """The covariance, float64, of what is left when the mean over dimensions is subtracted."""
    covariance = covariance.double()
    rows = covariance - covariance.mean(0, keepdim=True)
    return rows - rows.mean(1, keepdim=True)


def reflection_to_mean(size: int) -> Tensor:
    """A reflection, shape (size, size), float64: the first direction becomes that of the mean."""
    mean = torch.full((size,), size**-0.5, dtype=torch.float64)
    normal = mean - torch.eye(size, dtype=torch.float64)[0]
    if size == 1:
        return torch.eye(1, dtype=torch.float64)
    mirror = torch.outer(normal, normal) / normal.dot(normal)
    return torch.eye(size, dtype=torch.float64) - 2 * mirror


def gain_in(basis: Tensor, covariance: Tensor) -> float:
    """The gain of normalisations in any basis, of shape (teacher hidden size, size)."""
    whole, size = basis.shape
    share = float((basis.T @ covariance @ basis).trace() / covariance.trace())
    return float((share * whole / size) ** 0.5)


def nearest_rotation(states: Tensor, wanted: Tensor) -> Tensor:
    """The rotation, shape (size, size), that brings states nearest to others of the same shape.

    It leaves means over dimensions as they are. Schoenemann 1966, A generalized solution of the
    orthogonal Procrustes problem.
    """
    basis = reflection_to_mean(states.shape[1])
    mean, rest = basis[:, :1], basis[:, 1:]
    left, _, right = torch.linalg.svd(rest.T @ (states.double().T @ wanted.double()) @ rest)
    rotation: Tensor = mean @ mean.T + rest @ left @ right @ rest.T
    return rotation.float()


def chosen_basis(variances: Tensor, size: int) -> tuple[Tensor, float]:
    """As `principal_basis`, of the single dimensions that vary most: shape (hidden size,)."""
    chosen = top(variances, size)
    share = float(variances[chosen].sum() / variances.sum())
    return torch.eye(len(variances))[:, chosen], (share * len(variances) / size) ** 0.5


def top(importance: Tensor, count: int) -> Tensor:
    """Indices of the largest values of the last axis, ascending; of equals, the first."""
    order = importance.argsort(dim=-1, descending=True, stable=True)
    return order[..., :count].sort(dim=-1).values


def best_heads(importance: Tensor, large: Architecture, small: Architecture) -> Tensor:
    """The teacher heads whose best rows matter most, as many as the student has, ascending.

    `importance` is of the attention's rows, shape (width of all teacher heads,).
    """
    table = importance.view(large.num_attention_heads, -1)
    rows = min(small.head_size, table.shape[1])
    return top(table.topk(rows, dim=1).values.sum(dim=1), small.num_attention_heads)


def head_rows(
    importance: Tensor, large: Architecture, small: Architecture, heads: Tensor | None = None
) -> Tensor:
    """Rows of the attention maps that a student keeps: shape (width of all its heads,), int64.

    A student head no wider than the teacher's keeps the best rows of one of the best teacher heads,
    or of those given. Wider heads are blocks of the best rows over all teacher heads, in the
    teacher's order. `importance` has shape (width of all teacher heads,).
    """
    if small.head_size > large.head_size:
        return top(importance, small.heads_width)
    table = importance.view(large.num_attention_heads, large.head_size)
    rows = top(table, small.head_size)
    heads = best_heads(importance, large, small) if heads is None else heads
    rows = rows + torch.arange(large.num_attention_heads)[:, None] * large.head_size
    return rows[heads].flatten()


def rotary_rows(
    importance: Tensor,
    large: Architecture,
    small: Architecture,
    pairs: Literal["halves", "neighbours"],
) -> tuple[Tensor, Tensor]:
    """Likewise where pairs of dimensions are rotated: rows of queries and keys, and of values.

    The i-th pair of a head turns by an angle that depends on i as a share of all its pairs, so a
    student's pair is that of the teacher with the nearest share; which head it is of decides the
    importance, as it does for values. A head wider than the teacher's joins several of them.
    """
    heads, size = large.num_attention_heads, large.head_size
    count, width = small.num_attention_heads, small.head_size
    joined = -(-width // size)
    table = importance.view(heads, size)
    best = top(table.topk(min(width, size), dim=1).values.sum(dim=1), min(heads, count * joined))
    groups = best[torch.arange(count * joined) % len(best)].view(count, joined)
    slots = torch.arange(width // 2) * (joined * (size // 2)) // (width // 2)
    pair, member = slots // joined, groups[:, slots % joined] * size
    if pairs == "halves":
        rows = torch.cat([member + pair, member + pair + size // 2], dim=1)
    else:
        rows = torch.stack([member + 2 * pair, member + 2 * pair + 1], dim=-1)
    choices = (groups[:, :, None] * size + torch.arange(size)).flatten(1)
    values = choices.gather(1, top(importance[choices], width))
    return rows.flatten(), values.flatten()
