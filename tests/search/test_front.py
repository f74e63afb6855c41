"""Non-dominated sorting against fronts found by hand."""

from __future__ import annotations

import numpy as np
import pytest

from kdnas.search.front import nondominated_ranks


def test_golden_fronts_in_two_objectives() -> None:
    points = [(1, 5), (2, 3), (4, 1), (2, 5), (3, 4), (5, 5), (4, 4)]
    assert nondominated_ranks(points) == [0, 0, 0, 1, 1, 3, 2]


def test_equal_points_share_a_front_and_a_tie_in_one_objective_is_beaten() -> None:
    assert nondominated_ranks([(1, 1), (1, 1), (1, 2), (2, 1), (2, 2)]) == [0, 0, 1, 1, 2]


def test_one_objective_is_a_dense_ranking() -> None:
    assert nondominated_ranks([(3.0,), (1.0,), (2.0,), (1.0,)]) == [2, 0, 1, 0]


def test_three_objectives_agree_with_the_definition() -> None:
    points = np.random.default_rng(0).integers(0, 6, (60, 3)).astype(float)
    ranks = nondominated_ranks(points.tolist())
    for i, point in enumerate(points):
        beaten_by = {
            ranks[j]
            for j, other in enumerate(points)
            if (other <= point).all() and (other < point).any()
        }
        assert max(beaten_by, default=-1) == ranks[i] - 1


def test_nothing_and_nonsense() -> None:
    assert nondominated_ranks([]) == []
    with pytest.raises(ValueError, match="numbers"):
        nondominated_ranks([(1, float("nan"))])
    with pytest.raises(ValueError):
        nondominated_ranks([(1, 2), (1,)])
