"""How well a cheap figure ranks students: Kendall's tau and Spearman's rho with final scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

RESAMPLES = 2000
CONFIDENCE = 0.95
# A handful of students resampled says nothing about students that were not drawn.
LEAST_FOR_INTERVAL = 5

Floats = NDArray[np.float64]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Agreement:
    """How far two orders of the same students agree, from -1 (reversed) to 1 (the same).

    Attributes:
        tau: Kendall's tau-b; None where either side is all ties.
        tau_interval: Its 95% confidence interval; None for fewer than 5 students.
        rho: Spearman's rank correlation; None like tau.
        rho_interval: Its interval.
        n: Students.
    """

    tau: float | None
    tau_interval: Interval | None
    rho: float | None
    rho_interval: Interval | None
    n: int


def agreement(
    predictor: Sequence[float],
    final: Sequence[float],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Agreement:
    """Rank correlations of a predictor with final scores, with confidence intervals.

    The intervals are percentile bootstraps over students (Efron and Tibshirani 1993, An
    Introduction to the Bootstrap, chapter 13): students are drawn with replacement, and the 2.5th
    and the 97.5th percentile of the resamples' correlations are the ends. Resamples in which either
    side is all ties have no correlation and are left out. The interval says what other students
    might have shown; it does not know the noise of each training, and it has no width where the
    students agree perfectly.

    Args:
        predictor: Shape (students,).
        final: Shape (students,): their final scores.
        resamples: Of the bootstrap.
        seed: Of its draws; the same students give the same interval.

    Raises:
        ValueError: The two differ in length, or hold what is not finite.
    """
    x, y = np.asarray(predictor, np.float64), np.asarray(final, np.float64)
    if x.shape != y.shape or x.ndim != 1 or not np.isfinite([x, y]).all():
        raise ValueError("predictor and final scores must be finite and of one length")
    whole = np.arange(len(x))[None]
    drawn = np.random.default_rng(seed).integers(len(x), size=(resamples, len(x)))
    tau, rho = float(kendall(x, y, whole)[0]), float(spearman(x, y, whole)[0])
    return Agreement(
        None if math.isnan(tau) else tau,
        _interval(kendall(x, y, drawn), len(x)),
        None if math.isnan(rho) else rho,
        _interval(spearman(x, y, drawn), len(x)),
        len(x),
    )


def kendall(x: Floats, y: Floats, drawn: NDArray[np.int64]) -> Floats:
    """Kendall's tau-b of each resample; NaN where either side is all ties.

    Kendall 1945, The Treatment of Ties in Ranking Problems.

    Args:
        x: Shape (students,).
        y: Same shape.
        drawn: Shape (resamples, n): which students each resample holds.
    """
    # A resample is how often it holds each student, and a sum over its pairs a quadratic form.
    counts = np.stack([np.bincount(row, minlength=len(x)) for row in drawn]).astype(np.float64)
    orders = [np.sign(values[:, None] - values[None]) for values in (x, y)]

    def pairs(matrix: Floats) -> Floats:
        total: Floats = ((counts @ matrix) * counts).sum(1)
        return total

    return _ratio(pairs(orders[0] * orders[1]), pairs(orders[0] ** 2), pairs(orders[1] ** 2))


def spearman(x: Floats, y: Floats, drawn: NDArray[np.int64]) -> Floats:
    """Spearman's rho of each resample, ties at their mean rank; NaN where a side is all ties.

    Args:
        x: Shape (students,).
        y: Same shape.
        drawn: Shape (resamples, n): which students each resample holds.
    """
    ranks = [rankdata(values[drawn], axis=1) for values in (x, y)]
    a, b = (rank - rank.mean(1, keepdims=True) for rank in ranks)
    return _ratio((a * b).sum(1), (a * a).sum(1), (b * b).sum(1))


def better_half(final: Sequence[float]) -> list[int]:
    """Indices of the better half of the students by final score, best first; half is rounded up."""
    order = sorted(range(len(final)), key=lambda i: -final[i])
    return order[: math.ceil(len(final) / 2)]


def agreements(
    predictors: Mapping[str, Sequence[float]], final: Sequence[float]
) -> dict[str, dict[str, Agreement]]:
    """Each predictor's agreement with the final scores: of all students, and of their better half.

    Proxies often tell good students from bad ones and fail among the good, where a search chooses.

    Returns:
        `{"all": {predictor: ...}, "better_half": {predictor: ...}}`.
    """
    groups = {"all": list(range(len(final))), "better_half": better_half(final)}
    return {
        name: {
            predictor: agreement([values[i] for i in group], [final[i] for i in group])
            for predictor, values in predictors.items()
        }
        for name, group in groups.items()
    }


def _ratio(both: Floats, x: Floats, y: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        ratio: Floats = both / np.sqrt(x * y)
    return ratio


def _interval(values: Floats, n: int) -> Interval | None:
    known = values[~np.isnan(values)]
    if n < LEAST_FOR_INTERVAL or not len(known):
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)
