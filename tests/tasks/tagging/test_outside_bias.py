"""How far the output for O is moved: by count and shift alone."""

from __future__ import annotations

from bisect import bisect

import numpy as np
import pytest
from numpy.typing import NDArray

from kdnas.tasks.tagging.outside_bias import outside_bias

# Shift of O from which on a number of entities is found, from the lowest to the highest.
Counts = list[tuple[float, int]]


@pytest.mark.parametrize(
    ("counts", "shift"),
    [
        ([(-9, 40)], 0),  # too many wherever O is: broken runs, which no shift mends
        ([(-9, 20)], 0),
        ([(-9, 40), (3.5, 12)], 0),  # the other side of a cliff is further off
        ([(-9, 40), (1, 31), (3.9, 10)], 1),  # a plateau to the cap: where it begins
        ([(-9, 50), (-2, 28), (-0.9, 20)], -1),
        ([(-9, 34), (-2, 26), (-0.9, 20)], -1),  # as near on both sides
        ([(-9, 30)], 0),
        ([(-9, 30), (-3, 12)], -3.125),
        ([(-9, 90), (0.01, 80), (4, 70)], 4),  # the nearest is at the cap
        ([(-9, 40), (1, 44), (2, 29)], 2),  # more than before, on the way to fewer
    ],
)
def test_the_smallest_of_the_nearest_shifts(counts: Counts, shift: float) -> None:
    """Golden: 30 entities are labelled."""

    def count(bias: NDArray[np.float32]) -> int:
        assert not bias[[0, 2]].any()
        return counts[bisect([at for at, _ in counts], bias[1]) - 1][1]

    assert outside_bias(count, 30, 3, 1).tolist() == [0, shift, 0]
