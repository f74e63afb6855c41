"""Ways of ranking candidates."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest

from kdnas.study.samplers import SurrogateSampler
from kdnas.study.samplers._controller import LSTMs
from kdnas.study.samplers._ways import (
    CONTRAST,
    NEIGHBOURS,
    WHOLE,
    contrast,
    nearest_first,
    way_of,
)
from studies import LARGE, SMALL, SpacedSampler, run


def test_the_ways_take_turns_and_wait_for_trials_to_stand_on() -> None:
    assert [way_of(finished, 9, 1) for finished in range(6)] == [CONTRAST, WHOLE, NEIGHBOURS] * 2
    assert [way_of(finished, 7, 1) for finished in range(3)] == [WHOLE, WHOLE, NEIGHBOURS]
    assert [way_of(finished, 0, 1) for finished in range(3)] == [WHOLE] * 3
    assert [way_of(finished, 9, 2) for finished in range(3)] == [WHOLE] * 3


def test_contrast_is_the_ratio_of_two_densities() -> None:
    # Of eight trials the best quarter, two, are good: both have choice 0 of the first parameter.
    codes = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [1, 0], [1, 1], [2, 0], [2, 1]])
    rewards = [0.9, 0.8, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    pool = np.array([[0, 0], [1, 0], [2, 1], [3, 0]])
    good, others = np.array([3, 1, 1, 1]) / 6, np.array([1, 5, 3, 1]) / 10
    first = np.log(good / others)  # the second parameter is the same in both
    assert contrast(pool, codes, rewards, [4, 2]) == pytest.approx(first)
    assert first[3] > first[2] > first[1]  # never tried, tried in vain, tried in vain more often


def test_contrast_needs_no_more_than_two_trials() -> None:
    codes = np.array([[0], [1]])
    assert contrast(np.array([[0], [2]]), codes, [1.0, 0.0], [3]) == pytest.approx(
        np.log([2 / 5 * 3, 1 / 5 * 3])
    )


def test_the_nearest_come_first_and_the_score_decides_among_them() -> None:
    pool = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [1, 2, 0]])
    scores = np.array([100.0, -3.0, 5.0, 50.0])
    order = np.argsort(-nearest_first(scores, pool, (0, 2, 1)))
    assert order.tolist() == [2, 0, 3, 1]


def by_depth(params: dict[str, Any]) -> float:
    return params["layers"] + params["hidden"] / 1000 + params["heads"] / 1e4


def test_every_third_trial_changes_one_parameter_of_the_best() -> None:
    study = optuna.create_study(
        direction="maximize", sampler=SpacedSampler(LARGE, seed=1, n_trials=18, predictor=LSTMs())
    )
    changed = list[int]()
    for finished in range(18):
        best = study.best_params if finished else {}
        params = run(study, 1, LARGE, by_depth)[-1]
        if finished % 3 == NEIGHBOURS and finished >= 5:
            changed.append(sum(params[name] != best[name] for name in best))
    assert changed == [1] * 5


def test_a_sampler_without_trials_ranks_by_its_controllers_alone() -> None:
    sampler = SurrogateSampler(seed=0, n_trials=6, episode_size=1, predictor=LSTMs())
    study = optuna.create_study(direction="maximize", sampler=sampler)
    assert len(run(study, 3, SMALL)) == 3
