"""Metrics on rows: the same number whichever way a metric is computed."""

from __future__ import annotations

import numpy as np
import pytest

from kdnas.tasks import load_spec
from kdnas.tasks.metrics import example_answers, score_intervals
from kdnas.tasks.types import Metric
from kdnas.tasks.types.metric import Array

RNG = np.random.default_rng(0)
TRUTH = RNG.integers(0, 2, 60)
SAID = np.where(RNG.random(60) < 0.7, TRUTH, 1 - TRUTH)


def f1(predicted: Array, labels: Array) -> float:
    both = (predicted & labels).sum()
    return float(2 * both / max(1, predicted.sum() + labels.sum()))


def f1_of_sums(sums: Array) -> Array:
    both, said, wanted = np.moveaxis(sums, -1, 0)
    return np.asarray(2 * both / np.maximum(1, said + wanted))


ONE_BY_ONE = Metric(f1, "f1", "F1")
COUNTED = Metric(f1_of_sums, "f1", "F1", counts=lambda p, t: np.stack([p & t, p, t], -1))


def test_counts_give_what_rows_give() -> None:
    assert COUNTED(SAID, TRUTH) == pytest.approx(ONE_BY_ONE(SAID, TRUTH), abs=0)
    drawn = RNG.integers(0, 60, (7, 60))
    ours, theirs = (metric.on(SAID, TRUTH)(drawn) for metric in (COUNTED, ONE_BY_ONE))
    assert ours.shape == (7,)
    np.testing.assert_array_equal(ours, theirs)


def test_intervals_are_those_of_the_metric_with_an_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = load_spec("mrpc")
    found = example_answers(spec, np.eye(2)[SAID], TRUTH)
    usual = score_intervals(spec, found)["f1"]
    monkeypatch.setitem(spec.task_type.metrics, "f1", COUNTED)  # type: ignore[arg-type]
    assert score_intervals(spec, found)["f1"] == usual
