"""How far a tagger's output for O is moved, so that it finds as many entities as there are.

A small student that is not sure says O and finds too few: the answer that is most often right is
not the one with the best F1 (Lipton et al. 2014, Optimal Thresholding of Classifiers to Maximize F1
Measure). Where as many are found as there are, precision equals recall, and F1 is near its best.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

# With fewer labelled entities, how many a student finds is chance.
LEAST_ENTITIES = 30
# By how much the output for O may be lowered or raised.
SHIFTS = np.arange(0, 4.1, 0.125, dtype=np.float32)


def outside_bias(
    count: Callable[[NDArray[np.float32]], int], wanted: int, outputs: int, outside: int
) -> NDArray[np.float32]:
    """The bias of each output, of which that of O alone may differ from 0.

    The smallest one among those that come nearest to the number wanted: a larger one that finds no
    other number on these rows would only lose (or invent) entities in others.

    Args:
        count: Entities that a model finds with such a bias; the lower O's, the more.
        wanted: Those that are labelled in the same rows.
        outputs: Outputs of the model.
        outside: The place of O among them.
    """
    alone = np.eye(outputs, dtype=np.float32)[outside]
    toward = -alone if count(0 * alone) < wanted else alone
    # The first of the nearest, by ascending shifts.
    shift = min(SHIFTS, key=lambda shift: abs(count(shift * toward) - wanted))
    found: NDArray[np.float32] = shift * toward
    return found
