"""The official scores of a task, from a model's logits and the labels."""

from __future__ import annotations

from statistics import fmean

import numpy as np
import torch
from numpy.typing import ArrayLike

from kdnas.errors import DivergedError
from kdnas.tasks.spec import TaskSpec


def task_score(scores: dict[str, float]) -> float:
    """One number for a task: the mean of its metrics over all splits, as GLUE's mean takes it."""
    return fmean(scores.values())


def compute_metrics(
    spec: TaskSpec, logits: ArrayLike, labels: ArrayLike, split: str | None = None
) -> dict[str, float]:
    """The task's metrics, each between -1 (or 0) and 1.

    Args:
        spec: The task.
        logits: Shape (units, num_labels); (units,) where there is one output.
        labels: Class ids or scores, (units,); units without a label do not count.
        split: The split, where the keys should tell splits apart (`accuracy_matched` for MNLI).

    Raises:
        DivergedError: A logit is not finite.
        ValueError: The shapes do not fit the task.
    """
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
    predicted, truth = kind.decode(outputs)[known], truth[known]
    return {
        metric if split is None else spec.score_name(metric, split): kind.metrics[metric].compute(
            predicted, truth
        )
        for metric in spec.metrics
    }
