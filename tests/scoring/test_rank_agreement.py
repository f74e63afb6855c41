"""Rank agreement against values computed by hand and by scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from kdnas.scoring.rank_agreement import (
    agreement,
    agreements,
    better_half,
    kendall,
    pooled_tau,
    spearman,
)


def test_golden_values() -> None:
    found = agreement([1, 2, 3, 4, 5], [2, 1, 4, 3, 5])
    assert found.tau == pytest.approx(0.6)  # 8 pairs agree, 2 do not, of 10
    assert found.rho == pytest.approx(0.8)  # 1 - 6 * 4 / (5 * 24)
    assert found.n == 5
    # One tie: 5 of 6 pairs differ in x, all in y; 5 agree: 5 / sqrt(5 * 6).
    assert agreement([1, 1, 2, 3], [1, 2, 3, 4]).tau == pytest.approx(5 / 30**0.5)
    assert agreement([1, 2, 3], [3, 2, 1]).rho == pytest.approx(-1)


def test_resamples_agree_with_scipy_ties_and_all() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 8, 12).astype(float), rng.normal(size=12)
    drawn = rng.integers(12, size=(20, 12))
    taus, rhos = kendall(x, y, drawn), spearman(x, y, drawn)
    for tau, rho, row in zip(taus, rhos, drawn, strict=True):
        assert tau == pytest.approx(kendalltau(x[row], y[row]).statistic)
        assert rho == pytest.approx(spearmanr(x[row], y[row]).statistic)


def test_the_interval_covers_as_often_as_it_says() -> None:
    """tau of two normal variables is 2/pi asin(r): 95% intervals miss it about 1 time in 20."""
    rng, covered = np.random.default_rng(0), 0
    r = 0.7
    true = 2 / np.pi * np.arcsin(r)
    for _ in range(100):
        x = rng.normal(size=40)
        y = r * x + (1 - r * r) ** 0.5 * rng.normal(size=40)
        interval = agreement(x.tolist(), y.tolist(), resamples=300).tau_interval
        assert interval is not None
        covered += interval[0] <= true <= interval[1]
    assert 88 <= covered <= 99


def test_the_interval_is_seeded_and_holds_the_value() -> None:
    x, y = list(range(16)), [0, 3, 1, 2, 6, 4, 5, 9, 8, 7, 12, 10, 11, 15, 13, 14]
    first, again = agreement(x, y), agreement(x, y)
    assert first == again and first.tau_interval is not None and first.tau is not None
    assert first.tau_interval[0] < first.tau < first.tau_interval[1] <= 1
    assert agreement(x, y, seed=1).tau_interval != first.tau_interval


def test_ties_everywhere_and_few_students_have_no_interval() -> None:
    tied = agreement([1, 1, 1, 1, 1, 1], [1, 2, 3, 4, 5, 6])
    assert (tied.tau, tied.tau_interval, tied.rho, tied.rho_interval) == (None,) * 4
    few = agreement([1, 2, 3, 4], [1, 2, 3, 4])
    assert few.tau == 1 and few.tau_interval is None
    # Many resamples of two distinct values are all ties; the others still give an interval.
    assert agreement([0, 0, 0, 0, 1], [0, 1, 2, 3, 4]).tau_interval is not None
    with pytest.raises(ValueError, match="finite"):
        agreement([1, 2], [1, float("nan")])
    with pytest.raises(ValueError, match="length"):
        agreement([1, 2], [1, 2, 3])


def test_within_the_better_half() -> None:
    final = [0.1, 0.9, 0.3, 0.8, 0.2]
    assert better_half(final) == [1, 3, 2]
    found = agreements({"score": [1, 3, 5, 4, 2], "depth": [1, 5, 3, 4, 2]}, final)
    assert found["all"]["depth"].tau == 1
    assert found["all"]["score"].tau == pytest.approx(0.4)
    assert found["better_half"]["score"].tau == -1 and found["better_half"]["score"].n == 3


def test_a_mean_of_several_taus() -> None:
    mean, (low, high) = pooled_tau([0.5], [10])
    deviation = (2 * 25 / (9 * 10 * 9)) ** 0.5
    assert mean == 0.5 and (high - low) / 2 == pytest.approx(1.96 * deviation, rel=1e-3)
    mean, narrow = pooled_tau([0.5] * 4, [10] * 4)
    assert mean == pytest.approx(0.5) and narrow[1] - narrow[0] == pytest.approx((high - low) / 2)
    # Two that chance does not make so different: the standard error is that of their mean.
    mean, wide = pooled_tau([0.5, -0.5], [100, 100])
    assert mean == pytest.approx(0) and wide[1] == pytest.approx(1.96 * 0.5, rel=0.01)
    assert pooled_tau([0.0, 1.0], [100, 3])[0] < 0.4  # nearer to that of more students


def test_the_mean_covers_as_often_as_it_says() -> None:
    rng, covered, true = np.random.default_rng(0), 0, 0.3
    for _ in range(100):
        counts = rng.integers(8, 30, size=6)
        taus = []
        for n in counts:
            r = np.sin(np.pi / 2 * np.clip(rng.normal(true, 0.15), -0.9, 0.9))
            x = rng.normal(size=n)
            taus.append(kendalltau(x, r * x + (1 - r * r) ** 0.5 * rng.normal(size=n)).statistic)
        low, high = pooled_tau(taus, counts.tolist())[1]
        covered += low <= true <= high
    assert 90 <= covered <= 100
