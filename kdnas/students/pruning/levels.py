"""How many heads and neurons each layer keeps for a speed: dynamic programming.

As in ZipLM (Kurtic et al. 2023), after Frantar and Alistarh 2022, SPDY: of all choices of a level
for each block that take no more than a budget of time, the one with the least sum of damages.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
STEPS = 10_000


def choose_levels(
    damages: Sequence[Floats],
    costs: Sequence[Floats],
    budget: float,
    steps: int = STEPS,
    some_of: Collection[int] = (),
) -> list[int] | None:
    """The level of each block.

    Costs are rounded up to multiples of `budget / steps`; what is found keeps the budget, and is
    the best where the costs are such multiples.

    Args:
        damages: Of each block, by level.
        costs: Same shapes, none below 0.
        budget: The most that all levels together may cost.
        steps: In how many parts the budget is divided.
        some_of: Blocks of which at least one is above its lowest level, whatever that costs.

    Returns:
        A level for each block; None where none keep the budget.
    """
    chosen = _least_damage(damages, costs, budget, steps)
    if chosen is None or not some_of or any(chosen[block] for block in some_of):
        return chosen
    # Each of them is kept in its turn.
    found = list[tuple[float, list[int]]]()
    for block in some_of:
        kept = list(damages)
        kept[block] = np.concatenate([[np.inf], damages[block][1:]])
        if levels := _least_damage(kept, costs, budget, steps):
            lost = sum(float(d[level]) for d, level in zip(kept, levels, strict=True))
            found.append((lost, levels))
    return min(found)[1] if found else None


def _least_damage(
    damages: Sequence[Floats], costs: Sequence[Floats], budget: float, steps: int
) -> list[int] | None:
    if budget < 0:
        return None
    # Of what is spent so far, at most 0, 1, ... parts of the budget: the least damage.
    least, chosen = np.zeros(steps + 1), []
    for damage, cost in zip(damages, costs, strict=True):
        parts = np.ceil(cost / budget * steps - 1e-6) if budget else np.where(cost > 0, np.inf, 0)
        options = np.full((len(damage), steps + 1), np.inf)
        for level, (lost, needed) in enumerate(zip(damage, parts, strict=True)):
            if needed <= steps:
                options[level, int(needed) :] = least[: steps + 1 - int(needed)] + lost
        chosen.append((options.argmin(0), parts))
        least = options.min(0)
    if not np.isfinite(least[-1]):
        return None
    left, levels = steps, []
    for best, parts in reversed(chosen):
        level = int(best[left])
        levels.append(level)
        left -= int(parts[level])
    return levels[::-1]
