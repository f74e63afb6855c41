"""How far a tagger's output for O is moved, so that it finds as many entities as there are.

A small student that is not sure says O and finds too few: the answer that is most often right is
not the one with the best F1 (Lipton et al. 2014, Optimal Thresholding of Classifiers to Maximize F1
Measure). Where as many are found as there are, precision equals recall, and F1 is near its best.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

# With fewer labelled entities, how many a student finds is chance.
LEAST_ENTITIES = 30
# How much the output for O may be lowered or raised.
SHIFTS = np.arange(0, 4.1, 0.125, dtype=np.float32)


def outside_bias(
    count: Callable[[NDArray[np.float32]], int], wanted: int, outputs: int, outside: int
) -> NDArray[np.float32]:
    """The bias of each output, of which that of O alone may differ from 0.

    Args:
        count: Entities that a model finds with such a bias; the lower O's, the more.
        wanted: Those that are labelled in the same rows.
        outputs: Outputs of the model.
        outside: The place of O among them.
    """
    alone = np.eye(outputs, dtype=np.float32)[outside]
    few = 1 if count(0 * alone) < wanted else -1

    def missing(place: int) -> int:
        return few * (count(-few * SHIFTS[place] * alone) - wanted)

    place = bisect_left(range(len(SHIFTS)), 0, key=missing)
    near = range(max(0, place - 1), min(place + 1, len(SHIFTS)))
    found: NDArray[np.float32] = -few * SHIFTS[min(near, key=lambda i: abs(missing(i)))] * alone
    return found
