from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from kdnas.tasks import TASK_TYPES, TaskSpec, load_spec
from kdnas.tasks.metrics import Answers, example_answers, score_intervals, skill_interval


def intervals(spec: TaskSpec, logits: Any, labels: Any, split: str | None = None) -> Any:
    return score_intervals(spec, example_answers(spec, logits, labels), split)


def test_accuracy_has_wilsons_interval() -> None:
    logits = np.eye(2)[[0] * 81 + [1] * 19]  # 81 of 100 right
    found = intervals(load_spec("rte"), logits, np.zeros(100, int), "validation")
    # (p + z^2/2n -+ z sqrt(p (1-p)/n + z^2/4n^2)) / (1 + z^2/n) with z = 1.959964, by hand.
    assert found == {"accuracy": pytest.approx((0.72222, 0.87485), abs=1e-5)}


def test_other_metrics_are_bootstrapped_and_carry_their_split() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(size=400)
    guess = truth + rng.normal(size=400)
    spec = load_spec("stsb").model_copy(update={"metrics": ("pearson",)})
    found = intervals(spec, guess, truth)
    assert list(found) == ["pearson", "mae"]
    low, high = found["pearson"]
    r = np.corrcoef(guess, truth)[0, 1]
    z, half = np.arctanh(r), 1.96 / np.sqrt(397)  # Fisher's interval
    assert low < r < high
    assert (low, high) == pytest.approx((np.tanh(z - half), np.tanh(z + half)), abs=0.01)
    logits = np.eye(3)[[0, 1, 2, 2, 1, 0]]
    labels = [0, 1, 2, 1, 1, 0]
    keys = list(intervals(load_spec("mnli"), logits, labels, "validation_mismatched"))
    assert keys == ["accuracy_mismatched"]


def _correlation(of: Callable[..., Any], truth: Any, guess: Any) -> float:
    return 0.0 if np.ptp(truth) == 0 or np.ptp(guess) == 0 else float(of(truth, guess)[0])


REFERENCE: dict[str, Callable[[Any, Any], float]] = {
    "accuracy": accuracy_score,
    "f1": partial(f1_score, zero_division=0.0),
    "f1_macro": partial(f1_score, average="macro", zero_division=0.0),
    "mcc": matthews_corrcoef,
    "pearson": partial(_correlation, stats.pearsonr),
    "spearman": partial(_correlation, stats.spearmanr),
}


@pytest.mark.parametrize("name", REFERENCE)
def test_metrics_of_many_resamples_are_those_of_sklearn_and_scipy(name: str) -> None:
    rng = np.random.default_rng(0)
    metric = next(t.metrics[name] for t in TASK_TYPES.values() if name in t.metrics)
    truth, guess = rng.integers(0, 2 if name == "f1" else 4, size=(2, 5, 7))
    guess[0] = truth[0]
    truth[1] = 1  # constant
    guess[2] = 0
    wanted = [REFERENCE[name](t, g) for g, t in zip(guess, truth, strict=True)]
    assert metric.compute(guess, truth, axis=-1) == pytest.approx(wanted)
    alone = [metric.compute(g, t) for g, t in zip(guess, truth, strict=True)]
    assert alone == pytest.approx(wanted)


def test_the_interval_of_skill_takes_little_memory_with_many_classes() -> None:
    rng = np.random.default_rng(0)
    classes, rows = 100, 400
    truth = rng.integers(0, classes, rows)
    said = np.where(rng.random(rows) < 0.6, truth, rng.integers(0, classes, rows))
    skill = TASK_TYPES["classification"].metrics["mcc"]
    drawn = rng.integers(0, rows, (3, rows))
    wanted = [matthews_corrcoef(truth[one], said[one]) for one in drawn]
    assert skill.on(said, truth)(drawn) == pytest.approx(wanted, abs=1e-12)
    spec = load_spec("mnli")
    skill_interval(spec, Answers(said[:9], truth[:9]))  # what is imported does not count
    tracemalloc.start()
    found = skill_interval(spec, Answers(said, truth))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found is not None and found[0] < matthews_corrcoef(truth, said) < found[1]
    assert peak < classes * rows * 50 * 8 / 10  # a tenth of one number a class, row and resample


def test_units_without_a_label_count_in_no_interval() -> None:
    spec = load_spec("mrpc")
    logits, labels = np.eye(2)[[0, 1, 1, 0, 1, 0, 1]], np.array([0, 1, 0, 0, 1, 1, 1])
    padded = np.concatenate([logits, logits]), np.concatenate([labels, [-100] * 7])
    assert intervals(spec, *padded) == intervals(spec, logits, labels)


def test_one_row_has_no_interval() -> None:
    assert intervals(load_spec("rte"), [[0.0, 1.0]], [1]) == {}
