"""Metrics of rows, and what they are computed from."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Metric:
    """A metric, the hub's identifier of it, and the hub's name of it.

    `compute` takes the rows' predictions and labels, in this order, to a number; higher is better,
    but for the `errors` of a task type. It is nan where none of the rows is one that it is about:
    then it is not told, and resamples without such a row do not count. One with a parameter `axis`
    takes the resamples of a bootstrap all at once. One `of_class` has a parameter `positive`, the
    id of the class that it is about. With `counts`, which takes predictions and labels to shape
    (rows, k), `compute` takes sums over rows, shape (..., k), to shape (...). `on_times` takes
    predictions and labels to a function that bootstraps use instead, e.g. because it sorts the
    rows only once: from how often each row counts, shape (..., rows), to shape (...).
    """

    compute: Callable[..., Any]
    hub_type: str
    hub_name: str
    of_class: bool = False
    counts: Callable[..., Array] | None = None
    of_labels: bool = False  # whether `counts` also takes the names of the classes, as `labels`
    on_times: Callable[[Array, Array], Callable[[Array], Array]] | None = None
    best: float = 1.0  # what it is at most

    def __call__(self, predicted: Array, truth: Array) -> float:
        """The metric of all rows."""
        return float(self.on(predicted, truth)(np.arange(len(truth))))

    def on(self, predicted: Array, truth: Array) -> Callable[[NDArray[np.int64]], Array]:
        """The metric as a function of rows: from indices, shape (..., rows), to shape (...)."""
        compute = self.compute
        if self.counts is not None:
            counts = np.asarray(self.counts(predicted, truth), np.float64)
            # Not `counts[rows].sum(-2)`: of many rows and columns that fills the memory.
            return lambda rows: np.asarray(compute(times(rows, len(counts)) @ counts), np.float64)
        if self.on_times is not None:
            of = self.on_times(predicted, truth)
            return lambda rows: np.asarray(of(times(rows, len(truth))), np.float64)
        if "axis" in inspect.signature(compute).parameters:
            return lambda rows: np.asarray(compute(predicted[rows], truth[rows], axis=-1))

        def one_by_one(rows: NDArray[np.int64]) -> Array:
            flat = rows.reshape(-1, rows.shape[-1])
            values = [float(compute(predicted[part], truth[part])) for part in flat]
            return np.array(values, np.float64).reshape(rows.shape[:-1])

        return one_by_one


def times(rows: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """How often each of `count` rows is among some, shape (..., chosen): shape (..., count).

    Golden: times([0, 2, 2], 3) -> [1, 0, 2].
    """
    flat = rows.reshape(-1, rows.shape[-1])
    shifted = flat + count * np.arange(len(flat))[:, None]
    found = np.bincount(shifted.ravel(), minlength=count * len(flat)).astype(np.float64)
    return found.reshape(*rows.shape[:-1], count)


def correlation(x: Array, y: Array, axis: int) -> Array:
    """Pearson's along an axis; 0 where one side is constant."""
    x, y = (
        np.where(np.ptp(s, axis, keepdims=True) > 0, s - s.mean(axis, keepdims=True), 0.0)
        for s in (x.astype(np.float64), y.astype(np.float64))
    )
    both, xx, yy = ((a * b).sum(axis) for a, b in ((x, y), (x, x), (y, y)))
    return np.clip(ratio(both, np.sqrt(xx * yy)), -1, 1)


def ratio(above: Array, below: Array) -> Array:
    """Quotients; 0 where the divisor is 0."""
    zero = np.zeros(np.shape(above), np.float64)
    return np.divide(above, below, out=zero, where=np.asarray(below) > 0)
