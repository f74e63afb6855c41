"""Objective values as rewards: joined, scaled, and with what is missing left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from optuna.study import StudyDirection

Floats = npt.NDArray[np.float64]

_AUGMENTATION = 0.05
# A little beyond the worst that was seen, so that the ends of a front count.
_REFERENCE = 1.1


def signs(directions: Sequence[StudyDirection]) -> Floats:
    """Return what turns each objective's values into costs: 1 where it is minimised, else -1."""
    return np.array([1.0 if d == StudyDirection.MINIMIZE else -1.0 for d in directions])


def scalarise(
    values: Floats, directions: Sequence[StudyDirection], rng: np.random.Generator
) -> Floats:
    """Turn the objective values of trials into rewards (higher is better).

    One objective keeps its values, negated where it is minimised. Several are scaled to [0, 1]
    each and joined under random weights, see :func:`chebyshev`.

    Args:
        values: Shape (trials, objectives), finite.
        directions: One an objective.
        rng: Draws the weights.

    Returns:
        Shape (trials,).
    """
    costs = values * signs(directions)
    if costs.shape[1] == 1:
        return np.asarray(-costs[:, 0])
    low, span = costs.min(axis=0), np.ptp(costs, axis=0)
    return chebyshev((costs - low) / np.where(span > 0, span, 1.0), rng)


def chebyshev(costs: Floats, rng: np.random.Generator) -> Floats:
    """Join costs by the augmented Chebyshev function under random weights, as rewards.

    After ParEGO (Knowles, "ParEGO: a hybrid algorithm with on-line landscape approximation for
    expensive multiobjective optimization problems", IEEE TEC 2006). Fresh weights lead to another
    part of the Pareto front.

    Args:
        costs: Shape (..., objectives), each scaled to [0, 1] among the trials seen.
        rng: Draws the weights, uniformly among those that sum to 1.

    Returns:
        Shape (...).
    """
    weighted = rng.dirichlet(np.ones(costs.shape[-1])) * costs
    return np.asarray(-(weighted.max(axis=-1) + _AUGMENTATION * weighted.sum(axis=-1)))


def hypervolume_gain(costs: Floats, seen: Floats) -> Floats:
    """Return by how much points would enlarge the area that the seen ones dominate.

    Averaged over predictions this is the expected hypervolume improvement of Emmerich, Giannakoglou
    and Naujoks, "Single- and multiobjective evolutionary optimization assisted by Gaussian random
    field metamodels" (IEEE TEC 2006).

    Args:
        costs: Shape (..., 2), scaled as ``seen``.
        seen: Shape (trials, 2), each objective scaled to [0, 1].

    Returns:
        Shape (...).
    """
    corner, front, floor = _REFERENCE, [], np.inf
    for first, second in sorted(map(tuple, seen.tolist())):
        if second < floor:
            front.append((first, second))
            floor = second
    # Strips between neighbours of the front, each with the height that is dominated from.
    edges = np.array([-np.inf, *(first for first, _ in front), corner])
    heights = np.array([corner, *(second for _, second in front)])
    widths = np.maximum(0.0, edges[1:] - np.maximum(costs[..., :1], edges[:-1]))
    return np.asarray((widths * np.maximum(0.0, heights - costs[..., 1:])).sum(axis=-1))


def standardise(values: Floats, *, lift: bool = True) -> tuple[Floats, float, float]:
    """Scale the finite values to mean 0 and variance 1; return them, the mean and the deviation.

    The learning rate then suits every study: rewards may lie within a thousandth of each other or
    be losses in the hundreds, and the ranking of the candidates is the same.

    Args:
        values: Shape (trials,), NaN where nothing was observed; higher is better.
        lift: Lift values far below the rest (a student that diverged) to the lower quartile less
            three interquartile ranges, as one of them would otherwise press all the others into a
            single value.
    """
    known = values[np.isfinite(values)]
    lower, upper = np.quantile(known, [0.25, 0.75])
    floor = lower - 3 * (upper - lower) if lift and upper > lower else -np.inf
    known = np.maximum(known, floor)
    mean, spread = float(known.mean()), float(known.std()) or 1.0
    return (np.maximum(values, floor) - mean) / spread, mean, spread
