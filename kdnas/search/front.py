"""Non-dominated sorting: who is beaten by nobody, who by the first alone, and so on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def nondominated_ranks(points: Sequence[Sequence[float]]) -> list[int]:
    """The front that each point lies on: 0 for those that no other point dominates.

    A point dominates another if it is nowhere larger and somewhere smaller. Front r holds the
    points that nothing dominates once the fronts before r are taken away; equal points share one.
    Deb et al. 2002, A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II.

    Args:
        points: Each of the same length; every objective is minimised.

    Raises:
        ValueError: Points differ in length, or a value is not a number.
    """
    if not points:
        return []
    values = np.asarray(points, dtype=np.float64)  # ragged points raise ValueError here
    if values.ndim != 2 or np.isnan(values).any():
        raise ValueError("points must be of one length and hold numbers alone")
    nowhere_larger = np.all(values[:, None] <= values[None], axis=-1)
    dominates = nowhere_larger & ~nowhere_larger.T
    ranks = np.full(len(values), -1)
    rank = 0
    while len(left := np.flatnonzero(ranks < 0)):
        ranks[left[~dominates[np.ix_(left, left)].any(0)]] = rank
        rank += 1
    return [int(r) for r in ranks]
