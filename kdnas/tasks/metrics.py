"""The official metrics, from predictions and labels."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from kdnas.errors import DivergedError
from kdnas.tasks.spec import TaskSpec

Array = NDArray[Any]


def _accuracy(predicted: Array, labels: Array) -> float:
    return float(accuracy_score(labels, predicted))


def _f1(predicted: Array, labels: Array) -> float:
    return float(f1_score(labels, predicted, pos_label=1, zero_division=0.0))


def _f1_macro(predicted: Array, labels: Array) -> float:
    return float(f1_score(labels, predicted, average="macro", zero_division=0.0))


def _mcc(predicted: Array, labels: Array) -> float:
    return float(matthews_corrcoef(labels, predicted))


def _pearson(predicted: Array, labels: Array) -> float:
    return 0.0 if _constant(predicted, labels) else float(stats.pearsonr(predicted, labels)[0])


def _spearman(predicted: Array, labels: Array) -> float:
    return 0.0 if _constant(predicted, labels) else float(stats.spearmanr(predicted, labels)[0])


def _constant(predicted: Array, labels: Array) -> bool:
    """Whether a correlation is undefined: one side never varies."""
    return bool(np.ptp(predicted) == 0 or np.ptp(labels) == 0)


METRICS: dict[str, Callable[[Array, Array], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "f1_macro": _f1_macro,
    "mcc": _mcc,
    "pearson": _pearson,
    "spearman": _spearman,
}


def task_score(scores: dict[str, float]) -> float:
    """One number for a task: the mean of its metrics over all splits, as GLUE's mean takes it."""
    return fmean(scores.values())


def compute_metrics(
    spec: TaskSpec, predictions: ArrayLike, labels: ArrayLike, split: str | None = None
) -> dict[str, float]:
    """The task's metrics, each between -1 (or 0) and 1.

    F1 is that of class 1. A correlation with something constant is 0.

    Args:
        spec: The task.
        predictions: Logits, (n, num_labels); for regression (n,) or (n, 1).
        labels: Class ids or scores, (n,).
        split: The split, where the keys should tell splits apart (`accuracy_matched` for MNLI).

    Raises:
        DivergedError: A prediction is not finite.
        ValueError: The shapes do not fit the task.
    """
    outputs, truth = np.asarray(predictions, dtype=np.float64), np.asarray(labels)
    if outputs.ndim == 1:
        outputs = outputs[:, None]
    if truth.ndim != 1 or not len(truth) or outputs.shape != (len(truth), spec.num_labels):
        raise ValueError(
            f"predictions {outputs.shape} and labels {truth.shape} do not fit task {spec.name!r} "
            f"with {spec.num_labels} outputs"
        )
    bad = int((~np.isfinite(outputs)).any(axis=1).sum())
    if bad:
        raise DivergedError(
            f"{bad} of {len(outputs)} predictions are not finite: the model has diverged; "
            "train it with a lower learning rate"
        )
    predicted = outputs[:, 0] if spec.is_regression else outputs.argmax(axis=1)
    return {
        metric if split is None else spec.score_name(metric, split): METRICS[metric](
            predicted, truth
        )
        for metric in spec.metrics
    }
