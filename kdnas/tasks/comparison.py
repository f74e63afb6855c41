"""Whether one model is better than another on the same rows: paired intervals and tests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kdnas.tasks.metrics import RESAMPLES, Interval, interval_of
from kdnas.tasks.spec import TaskSpec
from kdnas.tasks.types import Metric

# By split, `predicted` and `truth` of the labelled rows, as JSON has them.
Scored = Mapping[str, Mapping[str, Sequence[Any]]]
BATCH = 50


class Difference(NamedTuple):
    """A difference of scores on the same rows, its 95% interval, and a two-sided p-value."""

    value: float
    interval: Interval
    p: float


def difference(spec: TaskSpec, ours: Scored, theirs: Scored) -> Difference | None:
    """The main score of one model less that of another.

    The interval is a paired percentile bootstrap over rows (Efron and Tibshirani 1993, An
    Introduction to the Bootstrap, chapter 13). The p-value of accuracy is McNemar's exact test
    (McNemar 1947, Note on the Sampling Error of the Difference Between Correlated Proportions);
    that of other metrics comes from the same resamples.

    Args:
        spec: The task.
        ours: By split, `predicted` and `truth` as `scores_and_intervals` gives them.
        theirs: The other model's, of the same rows.

    Returns:
        None where the rows differ, fewer than two are labelled, or the metric is about none.
    """
    pair = _pair(spec, ours, theirs)
    if pair is None:
        return None
    first, second, truth = pair
    metric = spec.metric(spec.metrics[0])
    value = metric(first, truth) - metric(second, truth)
    if np.isnan(value):
        return None
    found = _resampled(metric, first, second, truth)
    differences = found[0] - found[1]
    p = _mcnemar(first == truth, second == truth) if spec.metrics[0] == "accuracy" else None
    return Difference(value, interval_of(differences), _share(differences) if p is None else p)


def share_kept(spec: TaskSpec, student: Scored, teacher: Scored) -> Difference | None:
    """The student's main score as a share of the teacher's, with its paired interval.

    Returns:
        None where `difference` has none, or a resample of the teacher's score is not above 0.
    """
    pair = _pair(spec, student, teacher)
    if pair is None:
        return None
    first, second, truth = pair
    metric = spec.metric(spec.metrics[0])
    ours, theirs = _resampled(metric, first, second, truth)
    whole = metric(second, truth)
    if not whole > 0 or (theirs <= 0).any():
        return None
    shares = ours / theirs
    return Difference(metric(first, truth) / whole, interval_of(shares), _share(shares - 1))


def _pair(
    spec: TaskSpec, ours: Scored, theirs: Scored
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    split = spec.evaluation[0]
    if split not in ours or split not in theirs or len(ours[split]["truth"]) < 2:
        return None
    as_rows = spec.task_type.as_rows
    truth = as_rows(ours[split]["truth"])
    if not np.array_equal(truth, as_rows(theirs[split]["truth"])):
        return None
    first, second = (as_rows(side[split]["predicted"]) for side in (ours, theirs))
    return first, second, truth


def _resampled(
    metric: Metric, first: np.ndarray, second: np.ndarray, truth: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Both models' metric on the same resamples of the rows."""
    rng, size = np.random.default_rng(0), len(truth)
    found: tuple[list[np.ndarray], list[np.ndarray]] = [], []
    on_rows = [metric.on(side, truth) for side in (first, second)]
    for start in range(0, RESAMPLES, BATCH):
        rows = rng.integers(0, size, (min(BATCH, RESAMPLES - start), size))
        for values, of_side in zip(found, on_rows, strict=True):
            values.append(of_side(rows))
    ours, theirs = np.concatenate(found[0]), np.concatenate(found[1])
    there = ~np.isnan(ours + theirs)  # both have the same rows
    return ours[there], theirs[there]


def _share(differences: np.ndarray) -> float:
    """Twice the share of resamples on the other side of 0, at most 1."""
    side = min((differences <= 0).mean(), (differences >= 0).mean())
    return float(min(1.0, 2 * side))


def _mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Exact: whether the rows that one alone has right are one half each's."""
    ours, theirs = int((first & ~second).sum()), int((second & ~first).sum())
    small, total = min(ours, theirs), ours + theirs
    if not total:
        return 1.0
    logs = [
        math.lgamma(total + 1) - math.lgamma(i + 1) - math.lgamma(total - i + 1)
        for i in range(small + 1)
    ]
    return min(1.0, 2 * math.fsum(math.exp(x - total * math.log(2)) for x in logs))
