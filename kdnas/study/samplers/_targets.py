"""What controllers learn to predict: objective values as rewards, and how far constraints hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from optuna.study import StudyDirection
from scipy.stats import norm

from kdnas.study.samplers._candidates import Floats
from kdnas.study.samplers._history import Observation
from kdnas.study.samplers._lessons import Lessons

_AUGMENTATION = 0.05
# A little beyond the worst that was seen, so that the ends of a front count.
_REFERENCE = 1.1
_RUNG_WEIGHT = 0.5
# Deviation of a standardised constraint below which a model is not believed to be certain: times
# that decide are noisy.
_LEAST_DOUBT = 0.3


class Targets:
    """What the controllers are to predict: a column an objective, then a column a constraint.

    Without directions, constraints alone. The rows are the trials, then the lessons.

    Attributes:
        scaled: Shape (rows, columns), each column standardised, NaN where nothing was observed.
        weights: Of each row, shape (rows,).
    """

    def __init__(
        self,
        observations: Sequence[Observation],
        directions: Sequence[StudyDirection],
        lessons: Lessons | None = None,
    ) -> None:
        known: list[Mapping[str, float]] = [*map(finite_constraints, observations)]
        known += lessons.constraints if lessons else []
        keys = sorted({key for constraints in known for key in constraints})
        nothing = [np.nan] * len(directions)
        values = np.array([seen.values or nothing for seen in observations])
        values = values.reshape(len(observations), len(directions)) * -signs(directions)
        limits = [[constraints.get(key, np.nan) for key in keys] for constraints in known]
        # Margins: above 0 is feasible, so that higher is better here too.
        margins = -np.array(limits, dtype=float).reshape(len(known), len(keys))
        # Lifted, the one infeasible trial among many might pass for feasible.
        scores = [standardise(column)[0] for column in values.T]
        self.weights = np.array([1.0 if s.share == 1 else _RUNG_WEIGHT for s in observations])
        if lessons:
            codes = np.array([seen.code for seen in observations], np.int64)
            codes = codes.reshape(len(observations), lessons.codes.shape[1])
            weights = lessons.weights(codes, np.sum(scores, axis=0))
            self.weights = np.append(self.weights, weights)
            # Of other tasks: each study has a scale of its own.
            scores = [np.append(*both) for both in zip(scores, lessons.scores.T, strict=True)]
        limited = [standardise(column, lift=False) for column in margins.T]
        self.objectives, self._own = len(directions), len(observations)
        self.scaled = np.stack([*scores, *(scaled for scaled, _, _ in limited)], axis=1)
        self._thresholds = [-mean / spread for _, mean, spread in limited]

    def rewards(self, predicted: Floats, rng: np.random.Generator) -> Floats:
        """Joins the predicted objectives, shape (members, candidates).

        Two by what they would add to the front, more by random weights.
        """
        if self.objectives == 1:
            return np.asarray(predicted[:, :, 0])
        costs, seen = -predicted[:, :, : self.objectives], -self.scaled[:, : self.objectives]
        known = np.isfinite(seen).all(axis=1)
        own = known & (np.arange(len(seen)) < self._own)
        seen = seen[own if own.any() else known]
        if self.objectives == 2:
            return hypervolume_gain(_scaled(costs, seen), _scaled(seen, seen))
        return chebyshev(_scaled(costs, seen), rng)

    def log_feasibility(self, predicted: Floats) -> Floats:
        """The logarithm of the probability that all constraints hold, shape (candidates,)."""
        margins = predicted[:, :, self.objectives :]
        doubt = np.hypot(margins.std(axis=0), _LEAST_DOUBT)
        log: Floats = norm.logcdf((margins.mean(axis=0) - self._thresholds) / doubt).sum(axis=1)
        return log


def finite_constraints(seen: Observation) -> dict[str, float]:
    """The constraints of a trial whose values are numbers."""
    return {key: value for key, value in seen.constraints.items() if math.isfinite(value)}


def signs(directions: Sequence[StudyDirection]) -> Floats:
    """What turns each objective's values into costs: 1 where it is minimised, else -1."""
    return np.array([1.0 if d == StudyDirection.MINIMIZE else -1.0 for d in directions])


def scalarise(
    values: Floats, directions: Sequence[StudyDirection], rng: np.random.Generator
) -> Floats:
    """Objective values, shape (trials, objectives), as rewards (higher is better), (trials,).

    One objective keeps its values, negated where it is minimised. Several are scaled to [0, 1]
    each and joined under random weights, see `chebyshev`.
    """
    costs = values * signs(directions)
    if costs.shape[1] == 1:
        return np.asarray(-costs[:, 0])
    return chebyshev(_scaled(costs, costs), rng)


def _scaled(costs: Floats, seen: Floats) -> Floats:
    """Costs on a scale on which each objective seen lies in [0, 1]."""
    low, span = seen.min(axis=0), np.ptp(seen, axis=0)
    return np.asarray((costs - low) / np.where(span > 0, span, 1.0))


def chebyshev(costs: Floats, rng: np.random.Generator) -> Floats:
    """Joins costs by the augmented Chebyshev function under random weights, as rewards.

    After ParEGO (Knowles, "ParEGO: a hybrid algorithm with on-line landscape approximation for
    expensive multiobjective optimization problems", IEEE TEC 2006). Fresh weights, uniform among
    those that sum to 1, lead to another part of the Pareto front.

    Args:
        costs: Shape (..., objectives), each scaled to [0, 1] among the trials seen.

    Returns:
        Shape (...).
    """
    weighted = rng.dirichlet(np.ones(costs.shape[-1])) * costs
    return np.asarray(-(weighted.max(axis=-1) + _AUGMENTATION * weighted.sum(axis=-1)))


def hypervolume_gain(costs: Floats, seen: Floats) -> Floats:
    """By how much points would enlarge the area that the seen ones dominate, shape (...).

    Averaged over predictions this is the expected hypervolume improvement of Emmerich, Giannakoglou
    and Naujoks, "Single- and multiobjective evolutionary optimization assisted by Gaussian random
    field metamodels" (IEEE TEC 2006).

    Args:
        costs: Shape (..., 2), scaled as `seen`.
        seen: Shape (trials, 2), each objective scaled to [0, 1].
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
    """Scales the finite values to mean 0 and variance 1; returns them, the mean and the deviation.

    The learning rate then suits every study: rewards may lie within a thousandth of each other or
    be losses in the hundreds, and the ranking of the candidates is the same.

    Args:
        values: Shape (trials,), NaN where nothing was observed; higher is better.
        lift: Lift values far below the rest (a student that diverged) to the lower quartile less
            three interquartile ranges, as one of them would otherwise press all the others into a
            single value.
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return values, 0.0, 1.0
    lower, upper = np.quantile(known, [0.25, 0.75])
    floor = lower - 3 * (upper - lower) if lift and upper > lower else -np.inf
    known = np.maximum(known, floor)
    mean, spread = float(known.mean()), float(known.std()) or 1.0
    return (np.maximum(values, floor) - mean) / spread, mean, spread
