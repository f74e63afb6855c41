"""Which points no other point beats."""

from __future__ import annotations

import bisect
import math
from collections import defaultdict
from collections.abc import Sequence

Point = Sequence[float]


def nondominated_ranks(points: Sequence[Point]) -> list[int]:
    """The front that each point lies on: 0 for those that no other beats, 1 for the next, ...

    A point beats another that it equals or improves on everywhere, and improves on somewhere.
    Non-dominated sorting of Deb et al. 2002, NSGA-II.

    Args:
        points: Each as long as the others; less is better in every coordinate.
    """
    if not points or len(points[0]) > 2:
        return _by_comparison(points)
    # One objective is two of which the second is always the same.
    return _by_sweep([(point[0], point[-1] if len(point) > 1 else 0.0) for point in points])


def _by_sweep(points: Sequence[tuple[float, float]]) -> list[int]:
    """Ranks of pairs, from left to right: each front is known by its lowest point so far."""
    ranks, lowest = [0] * len(points), list[float]()
    before: tuple[tuple[float, float], int] | None = None
    for point, i in sorted((point, i) for i, point in enumerate(points)):
        if before and before[0] == point:
            ranks[i] = before[1]
            continue
        # Lower fronts lie lower, and one beats the point that is as low or lower.
        rank = bisect.bisect_right(lowest, point[1])
        lowest[rank : rank + 1] = [point[1]]
        ranks[i] = rank
        before = (point, rank)
    return ranks


def _by_comparison(points: Sequence[Point]) -> list[int]:
    ranks = [-1] * len(points)
    left, rank = set(range(len(points))), 0
    while left:
        front = {i for i in left if not any(_beats(points[j], points[i]) for j in left)}
        for i in front:
            ranks[i] = rank
        left -= front
        rank += 1
    return ranks


def crowding_distances(points: Sequence[Point]) -> list[float]:
    """How far apart each point's neighbours lie, infinite for the outermost; Deb et al. 2002.

    Args:
        points: Of one front.
    """
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
    """Indices of points by rank, the lonelier first within one front; less is better."""
    fronts: dict[int, list[int]] = defaultdict(list)
    for i, rank in enumerate(nondominated_ranks(points)):
        fronts[rank].append(i)
    order: list[int] = []
    for _, members in sorted(fronts.items()):
        lonely = crowding_distances([points[i] for i in members])
        order += [i for _, i in sorted(zip([-d for d in lonely], members, strict=True))]
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


def _beats(a: Point, b: Point) -> bool:
    pairs = list(zip(a, b, strict=True))
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)
