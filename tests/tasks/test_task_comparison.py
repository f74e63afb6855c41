from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from kdnas.tasks import TASK_TYPES, load_spec
from kdnas.tasks.comparison import difference, share_kept

RTE = load_spec("rte")


def rows(predicted: Any, truth: Any) -> dict[str, dict[str, Any]]:
    given = {"predicted": np.asarray(predicted).tolist(), "truth": np.asarray(truth).tolist()}
    return {"validation": given}


def test_golden_mcnemar() -> None:
    truth = np.zeros(100, int)
    ours, theirs = (truth + (np.arange(100) < n) for n in (20, 0))
    theirs[12:45] = 1  # 12 rows are right there alone, 25 here alone
    found = difference(RTE, rows(ours, truth), rows(theirs, truth))
    assert found is not None and found.value == pytest.approx(0.13)
    assert found.p == pytest.approx(stats.binomtest(12, 37).pvalue)
    assert found.p == pytest.approx(0.0470, abs=1e-4)
    low, high = found.interval
    half = 1.96 * np.sqrt((25 + 12) / 100**2 - 0.13**2 / 100)
    assert (low, high) == pytest.approx((0.13 - half, 0.13 + half), abs=0.02)


def test_equal_answers_differ_by_nothing() -> None:
    truth = np.arange(40) % 2
    same = difference(RTE, rows(truth, truth), rows(truth, truth))
    assert same == (0.0, (0.0, 0.0), 1.0)


def test_other_metrics_are_tested_by_their_resamples() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=300)
    good, bad = (truth + s * rng.normal(size=300) for s in (0.5, 2.0))
    found = difference(load_spec("stsb"), rows(good, truth), rows(bad, truth))
    assert found is not None and found.p < 0.01
    assert 0 < found.interval[0] < found.value < found.interval[1]
    again = share_kept(load_spec("stsb"), rows(bad, truth), rows(good, truth))
    assert again is not None and 0.3 < again.interval[0] < again.value < again.interval[1] < 0.8


def test_what_does_not_compare_has_no_difference() -> None:
    truth = np.arange(40) % 2
    for other in (rows(truth[:20], truth[:20]), rows(truth, 1 - truth), {}):
        assert difference(RTE, rows(truth, truth), other) is None
    assert share_kept(RTE, rows(truth, truth), rows(1 - truth, truth)) is None


def test_golden_scores_of_classes() -> None:
    kind = TASK_TYPES["classification"]
    truth, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 0, 1])
    found = kind.details(predicted, truth, ("a", "b", "c"))
    assert found is not None
    assert found["confusion"] == [[2, 1, 0], [1, 1, 0], [0, 1, 0]]
    first, second, third = found["classes"]
    assert first == pytest.approx(
        {"name": "a", "precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "support": 3}
    )
    assert (second["precision"], second["recall"]) == pytest.approx((1 / 3, 1 / 2))
    assert (third["precision"], third["recall"], third["f1"]) == (0, 0, 0)
    assert TASK_TYPES["regression"].details(predicted, truth, ()) is None
