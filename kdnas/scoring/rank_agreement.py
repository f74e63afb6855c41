"""How well a cheap figure ranks students: Kendall's tau and Spearman's rho with final scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

RESAMPLES = 2000
CONFIDENCE = 0.95
# A handful of students resampled says nothing about students that were not drawn.
LEAST_FOR_INTERVAL = 5

Floats = NDArray[np.float64]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Agreement:
    """How far two orders of `n` students agree, from -1 (reversed) to 1 (the same).

    Kendall's tau-b and Spearman's rho, None where either side is all ties, with 95% confidence
    intervals, None for fewer than 5 students.
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
    """Rank correlations of a predictor with the students' final scores, with 95% intervals.

    The intervals are percentile bootstraps over students (Efron and Tibshirani 1993, An
    Introduction to the Bootstrap, chapter 13): students are drawn with replacement, and the 2.5th
    and the 97.5th percentile of the resamples' correlations are the ends. Resamples in which either
    side is all ties have no correlation and are left out. The interval says what other students
    might have shown; it does not know the noise of each training, and it has no width where the
    students agree perfectly. The same students and seed give the same interval.

    Raises:
        ValueError: The two differ in length, or hold what is not finite.
    """
    x, y = np.asarray(predictor, np.float64), np.asarray(final, np.float64)
    if x.shape != y.shape or x.ndim != 1 or not np.isfinite([x, y]).all():
        raise ValueError("predictor and final scores must be finite and of one length")
    drawn = np.random.default_rng(seed).integers(len(x), size=(resamples, len(x)))
    found: list[tuple[float | None, Interval | None]] = []
    for correlation in (kendall, spearman):
        value = float(correlation(x, y, np.arange(len(x))[None])[0])
        interval = _interval(correlation(x, y, drawn), len(x))
        found.append((None if math.isnan(value) else value, interval))
    return Agreement(*found[0], *found[1], len(x))


def kendall(x: Floats, y: Floats, drawn: NDArray[np.int64]) -> Floats:
    """Kendall's tau-b of each resample, a row of `drawn`; NaN where either side is all ties.

    Kendall 1945, The Treatment of Ties in Ranking Problems.
    """
    # A resample is how often it holds each student, and a sum over its pairs a quadratic form.
    counts = np.stack([np.bincount(row, minlength=len(x)) for row in drawn]).astype(np.float64)
    orders = [np.sign(values[:, None] - values[None]) for values in (x, y)]

    def pairs(matrix: Floats) -> Floats:
        return np.asarray(((counts @ matrix) * counts).sum(1))

    return _ratio(pairs(orders[0] * orders[1]), pairs(orders[0] ** 2), pairs(orders[1] ** 2))


def spearman(x: Floats, y: Floats, drawn: NDArray[np.int64]) -> Floats:
    """Spearman's rho of each resample, ties at their mean rank; NaN where a side is all ties."""
    ranks = [rankdata(values[drawn], axis=1) for values in (x, y)]
    a, b = (rank - rank.mean(1, keepdims=True) for rank in ranks)
    return _ratio((a * b).sum(1), (a * a).sum(1), (b * b).sum(1))


def pooled_tau(taus: Sequence[float], counts: Sequence[int]) -> tuple[float, Interval]:
    """The mean of Kendall's taus of several studies, with its 95% interval.

    A random-effects mean (DerSimonian and Laird 1986, Meta-Analysis in Clinical Trials): studies
    count by how many students they are of, and differences between them that chance does not
    explain widen the interval. The variance of each tau is that of independent orders,
    `2 (2n + 5) / (9 n (n - 1))` (Kendall 1938, A New Measure of Rank Correlation), which is no less
    than that of orders that agree.

    Args:
        taus: At least one.
        counts: Students of each, at least 2.
    """
    tau, n = np.asarray(taus, np.float64), np.asarray(counts, np.float64)
    within = 2 * (2 * n + 5) / (9 * n * (n - 1))
    weights = 1 / within
    mean = float(np.average(tau, weights=weights))
    excess = float((weights * (tau - mean) ** 2).sum()) - (len(tau) - 1)
    scale = float(weights.sum() - (weights**2).sum() / weights.sum())
    between = max(0.0, excess / scale) if scale > 0 else 0.0
    weights = 1 / (within + between)
    mean = float(np.average(tau, weights=weights))
    reach = float(norm.ppf((1 + CONFIDENCE) / 2) / math.sqrt(weights.sum()))
    return mean, (max(-1.0, mean - reach), min(1.0, mean + reach))


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
        return np.asarray(both / np.sqrt(x * y))


def _interval(values: Floats, n: int) -> Interval | None:
    known = values[~np.isnan(values)]
    if n < LEAST_FOR_INTERVAL or not len(known):
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)
