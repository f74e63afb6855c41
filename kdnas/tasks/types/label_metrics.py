"""Scores of rows with several labels.

Predictions are above 0 where a row is said to have the label; both sides have shape (rows, labels).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kdnas.tasks.types.metric import Array, ratio


def f1_counts(predicted: Array, truth: Array) -> Array:
    """Of each row, label by label: whether both sides have it, and how many of the two."""
    p, t = predicted > 0, truth > 0
    return np.concatenate([p & t, p.astype(np.float64) + t], axis=1)


def f1_micro(counts: Array) -> Array:
    both, either = np.split(counts, 2, axis=-1)
    return ratio(2 * both.sum(-1), either.sum(-1))


def f1_macro(counts: Array) -> Array:
    """The mean over labels; 0 for one that neither side has."""
    both, either = np.split(counts, 2, axis=-1)
    return np.asarray(ratio(2 * both, either).mean(-1))


def exact_counts(predicted: Array, truth: Array) -> Array:
    right = ((predicted > 0) == (truth > 0)).all(1)
    return np.stack([right, np.ones(len(right))], axis=1)


def share_right(counts: Array) -> Array:
    return ratio(counts[..., 0], counts[..., 1])


def correlation_counts(predicted: Array, truth: Array) -> Array:
    p, t = predicted > 0, truth > 0
    return np.concatenate([p & t, p, t, np.ones((len(p), 1))], axis=1)


def pooled_correlation(counts: Array) -> Array:
    """Of answers and labels, covariances and variances summed over labels."""
    rows = counts[..., -1:]
    both, p, t = np.split(counts[..., :-1], 3, axis=-1)
    covariance = (rows * both - p * t).sum(-1)
    spread = (p * (rows - p)).sum(-1) * (t * (rows - t)).sum(-1)
    return np.asarray(ratio(covariance, np.sqrt(spread)))


def average_precision(predicted: Array, truth: Array) -> float:
    return float(average_precision_of(predicted, truth)(np.ones(len(truth))))


def average_precision_of(predicted: Array, truth: Array) -> Callable[[Array], Array]:
    """The mean over labels of sum over cuts of (recall - recall before) * precision.

    0 for a label that no row has. A function of how often each row counts, (..., rows) to (...).
    """
    size = len(truth)
    labels = []
    for scores, has in zip(predicted.T, (truth > 0).T, strict=True):
        order = np.argsort(-scores, kind="stable")
        ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, [True] * (size > 0)))
        labels.append((order, has[order].astype(np.float64), ends))

    def of(times: Array) -> Array:
        found = []
        for order, has, ends in labels:
            ranked = times[..., order]
            above = ranked.cumsum(-1)[..., ends]
            right = (ranked * has).cumsum(-1)[..., ends]
            steps = np.diff(right, prepend=0.0, axis=-1)
            found.append(ratio((steps * ratio(right, above)).sum(-1), right[..., -1]))
        return np.asarray(np.mean(found, axis=0))

    return of
