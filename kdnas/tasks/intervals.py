"""Confidence intervals of a task's scores."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from kdnas.tasks.spec import TaskSpec

CONFIDENCE = 0.95
RESAMPLES = 1000
BATCH = 50  # resamples in memory at a time

Array = NDArray[Any]
Interval = tuple[float, float]


def score_intervals(
    spec: TaskSpec, logits: ArrayLike, labels: ArrayLike, split: str | None = None
) -> dict[str, Interval]:
    """95% confidence intervals of the scores of `compute_metrics`, by the same keys.

    Accuracy has Wilson's interval (Wilson 1927, Probable Inference, the Law of Succession, and
    Statistical Inference); other metrics a percentile bootstrap over units (Efron and Tibshirani
    1993, An Introduction to the Bootstrap, chapter 13). They cover the sampling of the evaluated
    rows, not the noise of training.

    Args:
        spec: The task.
        logits: Finite, shape (units, num_labels), or (units,) where there is one output.
        labels: Class ids or scores, (units,).
        split: The split, where the keys should tell splits apart.

    Returns:
        (low, high) by key; empty for fewer than two units.
    """
    outputs, truth = np.asarray(logits, np.float64), np.asarray(labels)
    predicted = spec.task_type.decode(outputs if outputs.ndim > 1 else outputs[:, None])
    intervals: dict[str, Interval] = {}
    for metric in spec.metrics if len(truth) > 1 else ():
        key = metric if split is None else spec.score_name(metric, split)
        if metric == "accuracy":
            right = int((predicted == truth).sum())
            found = stats.binomtest(right, len(truth)).proportion_ci(CONFIDENCE, method="wilson")
        else:
            found = _bootstrap(spec, metric, predicted, truth)
        intervals[key] = (round(float(found.low), 5), round(float(found.high), 5))
    return intervals


def _bootstrap(spec: TaskSpec, metric: str, predicted: Array, truth: Array) -> Any:
    fast = VECTORISED.get(metric)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a resample may lack a class, or not vary
        return stats.bootstrap(
            (predicted, truth),
            fast or spec.task_type.metrics[metric].compute,
            n_resamples=RESAMPLES,
            batch=BATCH,
            confidence_level=CONFIDENCE,
            method="percentile",
            paired=True,
            vectorized=fast is not None,
            rng=np.random.default_rng(0),
        ).confidence_interval


# The metrics of tasks.types on many resamples at once, along an axis.


def _f1(predicted: Array, truth: Array, axis: int = -1) -> Array:
    return _f1_of(predicted == 1, truth == 1, axis)


def _f1_macro(predicted: Array, truth: Array, axis: int = -1) -> Array:
    classes = np.union1d(predicted, truth)
    sides = [(predicted == k, truth == k) for k in classes]
    there = np.stack([(p | t).any(axis) for p, t in sides])
    each = np.stack([_f1_of(p, t, axis) for p, t in sides])
    return _ratio(each.sum(0), there.sum(0))  # the mean over classes that occur


def _f1_of(predicted: Array, truth: Array, axis: int) -> Array:
    return _ratio(2.0 * (predicted & truth).sum(axis), predicted.sum(axis) + truth.sum(axis))


def _mcc(predicted: Array, truth: Array, axis: int = -1) -> Array:
    """Gorodkin 2004: the correlation of both sides' indicators of all classes."""
    classes = np.union1d(predicted, truth)
    x, y = (np.stack([s == k for k in classes]).astype(float) for s in (predicted, truth))
    return _correlation(x, y, axis)


def _pearson(predicted: Array, truth: Array, axis: int = -1) -> Array:
    return _correlation(predicted[None], truth[None], axis)


def _spearman(predicted: Array, truth: Array, axis: int = -1) -> Array:
    return _pearson(stats.rankdata(predicted, axis=axis), stats.rankdata(truth, axis=axis), axis)


def _correlation(x: Array, y: Array, axis: int) -> Array:
    """Of columns along the first axis, summed; 0 where one side is constant."""
    x, y = x - x.mean(axis, keepdims=True), y - y.mean(axis, keepdims=True)
    both, xx, yy = ((a * b).sum(axis).sum(0) for a, b in ((x, y), (x, x), (y, y)))
    return _ratio(both, np.sqrt(xx * yy))


def _ratio(above: Array, below: Array) -> Array:
    zero = np.zeros(np.shape(above), np.float64)
    ratio: Array = np.divide(above, below, out=zero, where=np.asarray(below) > 0)
    return ratio


VECTORISED: dict[str, Callable[..., Array]] = {
    "f1": _f1,
    "f1_macro": _f1_macro,
    "mcc": _mcc,
    "pearson": _pearson,
    "spearman": _spearman,
}
