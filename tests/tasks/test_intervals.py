from __future__ import annotations

import numpy as np
import pytest

from kdnas.tasks import load_spec
from kdnas.tasks.intervals import score_intervals


def test_accuracy_has_wilsons_interval() -> None:
    logits = np.eye(2)[[0] * 81 + [1] * 19]  # 81 of 100 right
    found = score_intervals(load_spec("rte"), logits, np.zeros(100, int), "validation")
    # (p + z^2/2n -+ z sqrt(p (1-p)/n + z^2/4n^2)) / (1 + z^2/n) with z = 1.959964, by hand.
    assert found == {"accuracy": pytest.approx((0.72222, 0.87485), abs=1e-5)}


def test_other_metrics_are_bootstrapped_and_carry_their_split() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(size=400)
    guess = truth + rng.normal(size=400)
    spec = load_spec("stsb").model_copy(update={"metrics": ("pearson",)})
    [(key, (low, high))] = score_intervals(spec, guess, truth).items()
    r = np.corrcoef(guess, truth)[0, 1]
    z, half = np.arctanh(r), 1.96 / np.sqrt(397)  # Fisher's interval
    assert key == "pearson" and low < r < high
    assert (low, high) == pytest.approx((np.tanh(z - half), np.tanh(z + half)), abs=0.01)
    logits = np.eye(3)[[0, 1, 2, 2, 1, 0]]
    labels = [0, 1, 2, 1, 1, 0]
    keys = list(score_intervals(load_spec("mnli"), logits, labels, "validation_mismatched"))
    assert keys == ["accuracy_mismatched"]
