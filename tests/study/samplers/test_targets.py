"""Objective values as rewards, against golden values."""

from __future__ import annotations

import numpy as np
import pytest
from optuna.study import StudyDirection

from kdnas.study.samplers._targets import hypervolume_gain, scalarise, standardise


def test_standardised_rewards() -> None:
    scaled, mean, spread = standardise(np.array([0.70, 0.71, np.nan, 0.72, 0.73]))
    assert scaled == pytest.approx(
        [-1.3416, -0.4472, np.nan, 0.4472, 1.3416], abs=1e-4, nan_ok=True
    )
    assert (mean, spread) == pytest.approx((0.715, 0.01118), abs=1e-5)
    assert standardise(np.array([0.5, 0.5]))[0].tolist() == [0.0, 0.0]
    # Quartiles 1 and 3: the outlier counts as 1 - 3 * 2.
    lifted = standardise(np.array([-1e9, 1.0, 2.0, 3.0, 4.0]))[0]
    assert lifted == pytest.approx(standardise(np.array([-5.0, 1.0, 2.0, 3.0, 4.0]))[0])
    as_it_is = standardise(np.array([-1e9, 1.0, 2.0, 3.0, 4.0]), lift=False)[0]
    assert as_it_is == pytest.approx([-2.0, 0.5, 0.5, 0.5, 0.5])


def test_one_objective_keeps_its_values() -> None:
    values, rng = np.array([[0.1], [0.4]]), np.random.default_rng(0)
    assert scalarise(values, [StudyDirection.MAXIMIZE], rng).tolist() == [0.1, 0.4]
    assert scalarise(values, [StudyDirection.MINIMIZE], rng).tolist() == [-0.1, -0.4]


def test_several_objectives_are_joined_by_augmented_chebyshev() -> None:
    directions = [StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE]
    values = np.array([[10.0, 5.0], [30.0, 9.0], [20.0, 8.0]])
    rewards = scalarise(values, directions, np.random.default_rng(3))
    first, second = np.random.default_rng(3).dirichlet([1.0, 1.0])
    middle = [0.5 * first, 0.25 * second]
    assert rewards == pytest.approx(
        [-1.05 * second, -1.05 * first, -(max(middle) + 0.05 * sum(middle))]
    )
    other = scalarise(values, directions, np.random.default_rng(4))
    assert not np.allclose(rewards, other)


def test_the_gain_in_hypervolume() -> None:
    seen = np.array([[0.0, 1.0], [0.5, 0.5], [0.6, 0.8], [1.0, 0.0]])
    points = np.array([[0.25, 0.25], [0.5, 0.5], [0.9, 0.9], [-0.5, 1.05], [0.7, -0.4]])
    # The first: 0.25 wide, down from 1, and 0.5 wide, down from 0.5. The fourth: half a unit
    # to the left of all, down from 1.1. The last: 0.3 down from 0.5 and 0.1 down from 0.
    expected = [0.25 * 0.75 + 0.5 * 0.25, 0.0, 0.0, 0.5 * 0.05, 0.3 * 0.9 + 0.1 * 0.4]
    assert hypervolume_gain(points, seen) == pytest.approx(expected)
    assert hypervolume_gain(points[None], seen).shape == (1, 5)
