"""Confidence intervals of a task's scores."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from kdnas.tasks.spec import TaskSpec

CONFIDENCE = 0.95
RESAMPLES = 1000

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
        labels: Class ids or scores, (units,); two units at least.
        split: The split, where the keys should tell splits apart.
    """
    outputs, truth = np.asarray(logits, np.float64), np.asarray(labels)
    predicted = spec.task_type.decode(outputs if outputs.ndim > 1 else outputs[:, None])
    intervals = {}
    for metric in spec.metrics:
        key = metric if split is None else spec.score_name(metric, split)
        if metric == "accuracy":
            right = int((predicted == truth).sum())
            found = stats.binomtest(right, len(truth)).proportion_ci(CONFIDENCE, method="wilson")
        else:
            found = _bootstrap(spec, metric, predicted, truth)
        intervals[key] = (round(float(found.low), 5), round(float(found.high), 5))
    return intervals


def _bootstrap(spec: TaskSpec, metric: str, predicted: ArrayLike, truth: ArrayLike) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # metrics of a resample without some class
        return stats.bootstrap(
            (predicted, truth),
            spec.task_type.metrics[metric].compute,
            n_resamples=RESAMPLES,
            confidence_level=CONFIDENCE,
            method="percentile",
            paired=True,
            vectorized=False,
            rng=np.random.default_rng(0),
        ).confidence_interval
