"""The official scores of a task and their confidence intervals, from logits and labels."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kdnas.errors import DivergedError
from kdnas.tasks.spec import TaskSpec

CONFIDENCE = 0.95
RESAMPLES = 1000
BATCH = 50  # resamples in memory at a time

Interval = tuple[float, float]


def task_score(spec: TaskSpec, scores: Mapping[str, float]) -> float:
    """One number for a task: the mean of its metrics over all splits, as GLUE's mean takes it."""
    keys = (spec.score_name(m, split) for m in spec.metrics for split in spec.evaluation)
    return fmean(scores[key] for key in keys if key in scores)


def compute_metrics(
    spec: TaskSpec, logits: ArrayLike, labels: ArrayLike, split: str | None = None
) -> dict[str, float]:
    """The task's metrics, each between -1 (or 0) and 1, and the errors of its type.

    Args:
        logits: Shape (units, num_labels); (units,) where there is one output.
        labels: Class ids or scores, (units,); units without a label do not count.
        split: The split, where the keys should tell splits apart (`accuracy_matched` for MNLI).

    Raises:
        DivergedError: A logit is not finite.
        ValueError: The shapes do not fit the task.
    """
    predicted, truth = _labelled(spec, logits, labels)
    return {
        spec.score_name(name, split): float(spec.metric(name)(predicted, truth))
        for name in _told(spec)
    }


def score_intervals(
    spec: TaskSpec, logits: ArrayLike, labels: ArrayLike, split: str | None = None
) -> dict[str, Interval]:
    """95% confidence intervals (low, high) of the scores of `compute_metrics`, which has the Args.

    Accuracy has Wilson's interval (Wilson 1927, Probable Inference, the Law of Succession, and
    Statistical Inference); other metrics a percentile bootstrap over units (Efron and Tibshirani
    1993, An Introduction to the Bootstrap, chapter 13). They cover the sampling of the evaluated
    rows, not the noise of training. There is none for fewer than two labelled units.
    """
    from scipy import stats

    predicted, truth = _labelled(spec, logits, labels)
    intervals: dict[str, Interval] = {}
    for name in _told(spec) if len(truth) > 1 else ():
        if name == "accuracy":
            right = int((predicted == truth).sum())
            found = stats.binomtest(right, len(truth)).proportion_ci(CONFIDENCE, method="wilson")
        else:
            found = _bootstrap(spec.metric(name), predicted, truth)
        key = spec.score_name(name, split)
        intervals[key] = round(float(found.low), 5), round(float(found.high), 5)
    return intervals


def skill_interval(spec: TaskSpec, logits: ArrayLike, labels: ArrayLike) -> Interval | None:
    """The 95% interval of the metric that is 0 for whoever answers always the same.

    None where the type has no such metric, or fewer than two units are labelled.
    """
    predicted, truth = _labelled(spec, logits, labels)
    kind = spec.task_type
    if kind.skill is None or len(truth) < 2:
        return None
    found = _bootstrap(spec.metric(kind.skill), predicted, truth)
    return float(found.low), float(found.high)


def answers(spec: TaskSpec, logits: ArrayLike, labels: ArrayLike) -> dict[str, list[Any]]:
    """`predicted` and `truth` of the labelled units, as plain values."""
    predicted, truth = _labelled(spec, logits, labels)
    return {"predicted": predicted.tolist(), "truth": truth.tolist()}


def _told(spec: TaskSpec) -> tuple[str, ...]:
    """The task's metrics, then the errors of its type."""
    return (*spec.metrics, *spec.task_type.errors)


def _labelled(
    spec: TaskSpec, logits: ArrayLike, labels: ArrayLike
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Predictions and labels of the units that have a label."""
    import torch

    kind, outputs, truth = spec.task_type, np.asarray(logits, np.float64), np.asarray(labels)
    if outputs.ndim == 1:
        outputs = outputs[:, None]
    if not truth.size or outputs.shape != (len(truth), spec.num_labels):
        raise ValueError(
            f"logits {outputs.shape} and labels {truth.shape} do not fit task {spec.name!r} "
            f"with {spec.num_labels} outputs"
        )
    bad = int((~np.isfinite(outputs)).any(axis=1).sum())
    if bad:
        raise DivergedError(
            f"{bad} of {len(outputs)} predictions are not finite: the model has diverged; "
            "train it with a lower learning rate"
        )
    known = kind.labelled(torch.from_numpy(truth)).numpy()
    return kind.decode(outputs)[known], truth[known]


def _bootstrap(metric: Any, predicted: NDArray[Any], truth: NDArray[Any]) -> Any:
    from scipy import stats

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a resample may lack a class, or not vary
        return stats.bootstrap(
            (predicted, truth),
            metric,
            n_resamples=RESAMPLES,
            batch=BATCH,
            confidence_level=CONFIDENCE,
            method="percentile",
            paired=True,
            rng=np.random.default_rng(0),
        ).confidence_interval
