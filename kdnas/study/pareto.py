"""Pareto fronts: non-dominated sorting, crowding, hypervolume."""

from __future__ import annotations

import bisect
import math
from collections import defaultdict
from collections.abc import Sequence

Point = Sequence[float]


def nondominated_ranks(points: Sequence[Point]) -> list[int]:
    """The front of each point: 0 where no other dominates it, 1 for the next front, ...

    A point dominates another that it equals or improves on everywhere, and improves on somewhere.
    Non-dominated sorting of Deb et al. 2002, NSGA-II, for one or two objectives; less is better.
    """
    # One objective is two of which the second is always the same.
    pairs = [(point[0], point[-1] if len(point) > 1 else 0.0) for point in points]
    ranks, lowest = dict[tuple[float, float], int](), list[float]()
    for pair in sorted(set(pairs)):
        # From left to right: each front is known by its lowest point so far, and lower fronts lie
        # lower.
        rank = ranks[pair] = bisect.bisect_right(lowest, pair[1])
        lowest[rank : rank + 1] = [pair[1]]
    return [ranks[pair] for pair in pairs]


def crowding_distances(points: Sequence[Point]) -> list[float]:
    """The distance between neighbours on one front, infinite for the outermost; Deb et al. 2002."""
    distances = [0.0] * len(points)
    for axis in range(len(points[0]) if points else 0):
        order = sorted(range(len(points)), key=lambda i: points[i][axis])
        span = points[order[-1]][axis] - points[order[0]][axis]
        distances[order[0]] = distances[order[-1]] = math.inf
        for before, here, after in zip(order, order[1:], order[2:], strict=False):
            if span > 0:
                distances[here] += (points[after][axis] - points[before][axis]) / span
    return distances


def best_first(points: Sequence[Point]) -> list[int]:
    """Indices of points by front, within one by falling crowding distance; less is better."""
    fronts: dict[int, list[int]] = defaultdict(list)
    for i, rank in enumerate(nondominated_ranks(points)):
        fronts[rank].append(i)
    order: list[int] = []
    for _, members in sorted(fronts.items()):
        distances = crowding_distances([points[i] for i in members])
        order += [i for _, i in sorted(zip([-d for d in distances], members, strict=True))]
    return order


def hypervolume(points: Sequence[tuple[float, float]], reference: tuple[float, float]) -> float:
    """The area between some points and a reference that is worse, for two objectives.

    Zitzler and Thiele 1998. Less is better; points beyond the reference add nothing.
    """
    area, lowest = 0.0, reference[1]
    for x, y in sorted(points):
        if x < reference[0] and y < lowest:
            area += (reference[0] - x) * (lowest - y)
            lowest = y
    return area
