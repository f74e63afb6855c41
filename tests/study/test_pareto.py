"""Golden values of non-dominated sorting, crowding and hypervolume."""

from __future__ import annotations

import math
import random

import pytest

from kdnas.study.pareto import best_first, crowding_distances, hypervolume, nondominated_ranks

POINTS = [(1.0, 5.0), (2.0, 3.0), (4.0, 1.0), (3.0, 4.0), (5.0, 5.0), (2.0, 3.0)]


def test_ranks_are_fronts_peeled_off_one_by_one() -> None:
    assert nondominated_ranks(POINTS) == [0, 0, 0, 1, 2, 0]
    assert nondominated_ranks([]) == []
    assert nondominated_ranks([(3.0,), (1.0,), (2.0,)]) == [2, 0, 1]


def by_comparison(points: list[tuple[float, ...]]) -> list[int]:
    """Ranks by the definition: each front is what nothing left dominates."""
    ranks, left, rank = [-1] * len(points), set(range(len(points))), 0
    while left:
        front = {i for i in left if not any(dominates(points[j], points[i]) for j in left)}
        for i in front:
            ranks[i] = rank
        left -= front
        rank += 1
    return ranks


def dominates(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    pairs = list(zip(a, b, strict=True))
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("objectives", [1, 2])
def test_sweeping_ranks_as_comparing_does(seed: int, objectives: int) -> None:
    rng = random.Random(seed)
    points = [tuple(float(rng.randrange(8)) for _ in range(objectives)) for _ in range(60)]
    assert nondominated_ranks(points) == by_comparison(points)


def test_crowding_is_the_span_of_the_neighbours() -> None:
    line = [(0.0, 4.0), (1.0, 2.0), (4.0, 0.0)]
    assert crowding_distances(line) == [math.inf, 1.0 + 1.0, math.inf]
    assert crowding_distances([(1.0, 1.0), (1.0, 1.0)]) == [math.inf, math.inf]
    assert crowding_distances([]) == []


def test_the_best_come_first_and_of_equals_the_loneliest() -> None:
    points = [(0.0, 4.0), (0.9, 2.9), (1.0, 2.0), (4.0, 0.0), (5.0, 5.0)]
    order = best_first(points)
    assert order[-1] == 4 and set(order[:2]) == {0, 3} and order.index(2) < order.index(1)
    assert best_first([(-0.5,), (-0.9,), (-0.7,)]) == [1, 2, 0]


def test_hypervolume_is_an_area() -> None:
    assert hypervolume([(0.5, 0.5)], (1, 1)) == 0.25
    assert hypervolume([(0.2, 0.6), (0.5, 0.5), (0.6, 0.7)], (1, 1)) == pytest.approx(
        0.8 * 0.4 + 0.5 * 0.1
    )
    assert hypervolume([(1.5, 0.2), (0.2, 1.0)], (1, 1)) == 0
