from __future__ import annotations

import pytest

from kdnas.scoring.costs import Costs
from kdnas.workflow.searching.hand_picked import nearest_first


def costs(*students: tuple[float, int], scatter: float = 0.0) -> list[Costs]:
    """Costs of students so many times as fast as their teacher, with so many parameters."""
    return [Costs(params, 0, 10.0, 10 * scatter, 10 * fast, fast) for fast, params in students]


@pytest.mark.parametrize(
    ("scatter", "order"),
    [
        (0.0, [1, 0, 2, 3]),  # 4.0 is nearest, and 3.9 as near but smaller
        (0.8, [2, 1, 0, 3]),  # timing cannot tell 3.5 from 4
    ],
)
def test_of_those_as_near_in_speed_the_largest_comes_first(
    scatter: float, order: list[int]
) -> None:
    shapes = [(3.9, 50), (4.0, 60), (3.5, 90), (2.0, 200)]
    assert nearest_first(costs(*shapes, scatter=scatter), 4.0) == order


def test_no_shapes() -> None:
    assert nearest_first([], 4.0) == []
