"""The official scores of a task and their confidence intervals, from logits and labels."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kdnas.errors import DivergedError, KdnasError
from kdnas.tasks.encode import EncodedExamples
from kdnas.tasks.spec import TaskSpec
from kdnas.tasks.types import Metric

CONFIDENCE = 0.95
RESAMPLES = 1000
BATCH = 50  # resamples in memory at a time

Interval = tuple[float, float]


def task_score(spec: TaskSpec, scores: Mapping[str, float]) -> float:
    """One number for a task: the mean of its metrics over all splits, as GLUE's mean takes it.

    Raises:
        KdnasError: None of its metrics has a score; see `metrics_of`.
    """
    keys = (spec.score_name(m, split) for m in spec.metrics for split in spec.evaluation)
    found = [scores[key] for key in keys if key in scores]
    if not found:
        raise not_told(spec)
    return fmean(found)


def not_told(spec: TaskSpec) -> KdnasError:
    """Says that the main metric of a task is about none of its rows."""
    first = spec.metrics[0]
    others = ", ".join(name for name in spec.task_type.default_metrics if name != first)
    return KdnasError(
        f"task {spec.name!r}: no row of {spec.evaluation[0]} is one that {first!r} is about; name "
        f"another of `metrics` first ({others})"
    )


class Answers(NamedTuple):
    """Predictions and truths of the rows that have a label, as the metrics take them."""

    predicted: NDArray[Any]
    truth: NDArray[Any]


def compute_metrics(
    spec: TaskSpec, logits: ArrayLike, labels: ArrayLike, split: str | None = None
) -> dict[str, float]:
    """The task's metrics on examples of which each is a unit and a row; see `metrics_of`.

    Args:
        logits: Shape (units, num_labels); (units,) where there is one output.
        labels: Class ids or scores, (units,); units without a label do not count.
        split: The split, where the keys should tell splits apart (`accuracy_matched` for MNLI).

    Raises:
        DivergedError: A logit is not finite.
        KdnasError: The rows have nothing that gets an answer.
        ValueError: The shapes do not fit the task.
    """
    return metrics_of(spec, example_answers(spec, logits, labels), split)


def example_answers(spec: TaskSpec, logits: ArrayLike, labels: ArrayLike) -> Answers:
    """What logits say of labelled examples; Args and errors as those of `compute_metrics`."""
    truth = np.asarray(labels)
    outputs = _outputs(spec, logits, len(truth))
    return known_rows(spec, spec.task_type.decode(outputs), truth)


def answers_of(
    spec: TaskSpec, logits: ArrayLike, data: EncodedExamples, threshold: float | None = None
) -> Answers:
    """What a model's logits, shape (units, outputs), say of the labelled rows of some examples.

    Of a type that generates, in place of logits: token ids, shape (examples, tokens).

    Raises:
        DivergedError: A logit is not finite.
        ValueError: The shapes do not fit the task.
    """
    kind = spec.task_type
    if kind.generates:
        outputs = np.asarray(logits)
    else:
        units = int(data.unit_offsets[-1])
        if data.row_count and not units:
            raise KdnasError(
                f"nothing to score for task {spec.name!r}: its rows have no words; give "
                "evaluation rows that have some"
            )
        outputs = _outputs(spec, logits, units)
    return known_rows(spec, kind.predictions(outputs, data, threshold), kind.truths(data))


def known_rows(spec: TaskSpec, predicted: NDArray[Any], truth: NDArray[Any]) -> Answers:
    """Predictions and truths without the rows that have no label.

    Raises:
        ValueError: No row is left.
    """
    known = spec.task_type.known(truth)
    if not known.any():
        raise ValueError(f"no row of task {spec.name!r} has a label")
    return Answers(predicted[known], truth[known])


def metrics_of(spec: TaskSpec, found: Answers, split: str | None = None) -> dict[str, float]:
    """The task's metrics, each between -1 (or 0) and 1, and the errors of its type.

    Those that are about none of the rows are left out, as in the official script of SQuAD 2.0.
    """
    scores = {spec.score_name(name, split): spec.metric(name)(*found) for name in _told(spec)}
    return {name: score for name, score in scores.items() if not np.isnan(score)}


def score_intervals(
    spec: TaskSpec, found: Answers, split: str | None = None
) -> dict[str, Interval]:
    """95% confidence intervals (low, high) of the scores of `metrics_of`.

    Accuracy has Wilson's interval (Wilson 1927, Probable Inference, the Law of Succession, and
    Statistical Inference); other metrics a percentile bootstrap over rows (Efron and Tibshirani
    1993, An Introduction to the Bootstrap, chapter 13). They cover the sampling of the evaluated
    rows, not the noise of training. There is none for fewer than two labelled rows, nor of metrics
    that are about none.
    """
    from scipy import stats

    predicted, truth = found
    intervals: dict[str, Interval] = {}
    for name in _told(spec) if len(truth) > 1 else ():
        if name == "accuracy":
            right = int((predicted == truth).sum())
            wilson = stats.binomtest(right, len(truth)).proportion_ci(CONFIDENCE, method="wilson")
            low, high = wilson.low, wilson.high
        else:
            low, high = _bootstrap(spec.metric(name), found)
        if not np.isnan(low):
            key = spec.score_name(name, split)
            intervals[key] = round(float(low), 5), round(float(high), 5)
    return intervals


def skill_interval(spec: TaskSpec, found: Answers) -> Interval | None:
    """The 95% interval of the metric that is 0 for whoever answers always the same.

    None where the type has no such metric, or fewer than two rows are labelled.
    """
    kind = spec.task_type
    if kind.skill is None or len(found.truth) < 2:
        return None
    return _bootstrap(spec.metric(kind.skill), found)


def scored_by(spec: TaskSpec, splits: Iterable[str]) -> dict[str, Any]:
    """What decides, of a task, the scores of given answers: plain values for a key.

    `metrics` are the names that `metrics_of` gives on these splits; `positive` is the class that
    some of them are about, where their names do not say it.
    """
    names = [spec.score_name(name, split) for split in splits for name in _told(spec)]
    nameless = spec.benchmark is not None and spec.positive is not None
    return {"metrics": names, **({"positive": spec.positive} if nameless else {})}


def _told(spec: TaskSpec) -> tuple[str, ...]:
    """The task's metrics, then the errors of its type."""
    return (*spec.metrics, *spec.task_type.errors)


def _outputs(spec: TaskSpec, logits: ArrayLike, units: int) -> NDArray[np.float64]:
    """Logits as shape (units, outputs), all finite."""
    outputs = np.asarray(logits, np.float64)
    if outputs.ndim == 1:
        outputs = outputs[:, None]
    if not units or outputs.shape != (units, spec.num_labels):
        raise ValueError(
            f"logits {outputs.shape} do not fit the {units} labels of task {spec.name!r} with "
            f"{spec.num_labels} outputs"
        )
    bad = int((~np.isfinite(outputs)).any(axis=1).sum())
    if bad:
        raise DivergedError(
            f"{bad} of {len(outputs)} predictions are not finite: the model has diverged; "
            "train it with a lower learning rate"
        )
    return outputs


def _bootstrap(metric: Metric, found: Answers) -> Interval:
    """The interval of a metric; nan where it is about none of the rows."""
    from scipy import stats

    on_rows = metric.on(*found)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a resample may lack a class, or not vary
        resamples = stats.bootstrap(
            (np.arange(len(found.truth)),),
            lambda rows, axis: on_rows(np.moveaxis(rows, axis, -1)),
            n_resamples=RESAMPLES,
            batch=BATCH,
            confidence_level=CONFIDENCE,
            method="percentile",
            vectorized=True,
            rng=np.random.default_rng(0),
        ).bootstrap_distribution
        return interval_of(resamples)


def interval_of(resamples: NDArray[np.float64]) -> Interval:
    """The percentile interval of what some resamples gave, those that are nan aside."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(resamples, [tail, 1 - tail])
    return float(low), float(high)
