"""What trials of every kind show, and how rungs are made comparable."""

from __future__ import annotations

from typing import Any

import pytest
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from kdnas.study.attributes import RUNG, RUNG_VALUES
from kdnas.study.samplers._candidates import CandidateSpace
from kdnas.study.samplers._history import observe, settle

SPACE = {"x": IntDistribution(0, 9)}


def trial(number: int, x: int, state: TrialState = TrialState.COMPLETE, **more: Any) -> FrozenTrial:
    made = create_trial(state=state, params={"x": x}, distributions=SPACE, **more)
    made.number = number
    return made


def stopped(number: int, x: int, share: float, *values: float) -> FrozenTrial:
    attrs = {RUNG: share, RUNG_VALUES: list(values)}
    return trial(number, x, TrialState.PRUNED, user_attrs=attrs)


def shown(trials: list[FrozenTrial]) -> list[tuple[int, tuple[float, ...] | None]]:
    settled = settle(observe(trials, CandidateSpace(SPACE)))
    return [(seen.number, seen.values) for seen in settled]


def test_what_shows_nothing_is_left_out() -> None:
    trials = [
        trial(3, 1, value=0.5),
        trial(0, 2, TrialState.PRUNED),
        trial(1, 3, TrialState.PRUNED, constraints={"speedup": 2.0}),
        trial(2, 4, TrialState.FAIL),
        trial(4, 5, value=float("inf")),
        stopped(5, 6, 0.5, float("nan")),
        trial(6, 7, value=float("inf"), constraints={"speedup": -1.0}),
    ]
    assert shown(trials) == [(1, None), (3, (0.5,)), (6, None)]


def test_a_rung_is_shifted_by_the_mean_difference_where_both_are_known() -> None:
    trials = [
        stopped(0, 1, 0.25, 0.3, 5.0),
        stopped(1, 2, 0.25, 0.4, 6.0),
        stopped(2, 3, 0.25, 0.1, 7.0),
        trial(3, 1, values=[0.5, 5.0]),
        trial(4, 2, values=[0.8, 8.0]),
    ]
    assert shown(trials) == [
        (2, pytest.approx((0.1 + 0.3, 7.0 + 1.0))),
        (3, (0.5, 5.0)),
        (4, (0.8, 8.0)),
    ]


def test_without_a_pair_the_medians_are_brought_together() -> None:
    trials = [
        stopped(0, 1, 0.25, 0.1),
        stopped(1, 2, 0.25, 0.2),
        stopped(2, 3, 0.25, 0.6),
        trial(3, 4, value=1.2),
    ]
    assert [values for _, values in shown(trials)] == [
        pytest.approx((1.1,)),
        pytest.approx((1.2,)),
        pytest.approx((1.6,)),
        (1.2,),
    ]


def test_the_longest_training_of_an_architecture_counts() -> None:
    trials = [stopped(0, 1, 0.1, 0.1), stopped(1, 1, 0.3, 0.4), stopped(2, 2, 0.1, 0.2)]
    # No full training yet: a third is the yardstick, 0.3 above a tenth.
    assert shown(trials) == [(1, (0.4,)), (2, pytest.approx((0.5,)))]
