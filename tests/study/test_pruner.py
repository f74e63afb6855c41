"""Successive halving: who goes on, what it costs, and that the budget is kept."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
import pytest
from optuna.trial import TrialState

from kdnas.study.attributes import CONTINUES, RUNG, RUNG_VALUES, UNITS
from kdnas.study.pruner import SuccessiveHalvingPruner

PRUNER = SuccessiveHalvingPruner(3, 3)
PLENTY = 1000


def study_with(values: Sequence[Sequence[float]], *directions: str) -> optuna.Study:
    """A study whose trials ended on the first rung."""
    study = optuna.create_study(directions=directions or ["maximize"])
    for value in values:
        stopped(study, value, 0)
    return study


def stopped(
    study: optuna.Study, value: Sequence[float], rung: int, continues: int | None = None
) -> None:
    trial = study.ask()
    trial.set_user_attr(RUNG, PRUNER.share(rung))
    trial.set_user_attr(RUNG_VALUES, list(value))
    trial.set_user_attr(UNITS, PRUNER.cost(rung))
    if continues is not None:
        trial.set_user_attr(CONTINUES, continues)
    study.tell(trial, state=TrialState.PRUNED)


def promoted(
    study: optuna.Study, left: int = PLENTY, *, fresh: bool | None = None
) -> tuple[int, int] | None:
    fresh = left >= PRUNER.full_cost if fresh is None else fresh
    found = PRUNER.next_promotion(study, left, fresh=fresh)
    return found and (found[0].number, found[1])


def test_units_add_up_to_a_whole_training() -> None:
    assert [PRUNER.share(r) for r in range(3)] == [1 / 9, 1 / 3, 1.0]
    assert [PRUNER.cost(r) for r in range(3)] == [1, 2, 6] and PRUNER.full_cost == 9
    assert (
        SuccessiveHalvingPruner().full_cost == SuccessiveHalvingPruner().cost(0) == 1
        and SuccessiveHalvingPruner().share(0) == 1.0
    )
    assert [SuccessiveHalvingPruner(r).expected_candidates(20) for r in (1, 2, 3)] == [20, 36, 77]
    assert [SuccessiveHalvingPruner(2, 4).cost(r) for r in range(2)] == [1, 3]


def test_the_best_third_goes_on_once() -> None:
    study = study_with([[0.1], [0.9]])
    assert promoted(study) is None
    stopped(study, [0.5], 0)
    assert promoted(study) == (1, 1)
    study.enqueue_trial({}, user_attrs={CONTINUES: 1, UNITS: 2})
    assert promoted(study) is None  # it waits to be asked for
    stopped(study, [0.95], 1, 1)
    for value in (0.2, 0.3, 0.8):
        stopped(study, [value], 0)
    assert promoted(study) == (6, 1)


def test_all_that_wait_go_on_where_nobody_comes_after_them() -> None:
    study = study_with([[0.1], [0.9]])
    assert promoted(study) is None and promoted(study, fresh=False) == (1, 1)


def test_higher_rungs_go_first() -> None:
    study = study_with([[v / 10] for v in range(9)])
    for origin in (8, 7, 6):
        stopped(study, study.trials[origin].user_attrs[RUNG_VALUES], 1, origin)
    assert promoted(study) == (9, 2)


def test_several_objectives_are_ranked_by_fronts() -> None:
    values = [[0.5, 0.5], [0.4, 0.6], [0.6, 0.7], [0.3, 0.9], [0.9, 0.9], [0.7, 0.8]]
    study = study_with(values, "minimize", "minimize")
    first = promoted(study)
    assert first in [(0, 1), (3, 1)]  # the ends of the first front are the loneliest
    stopped(study, [0.0, 0.0], 1, first[0])
    assert promoted(study) in [(0, 1), (3, 1)]


def test_the_last_units_go_to_those_who_can_still_reach_the_top() -> None:
    study = study_with([[0.1], [0.2]])
    assert promoted(study, 9) is None  # a new candidate may still come
    assert promoted(study, 8) == (1, 1)
    assert promoted(study, 7) is None  # two, then six, are more than is left
    stopped(study, [0.2], 1, 1)
    assert promoted(study, 6) == (2, 2)
    assert promoted(study, 5) is None


def test_one_failure_is_forgiven() -> None:
    study = study_with([[0.1], [0.9], [0.5]])
    for expected in ((1, 1), (1, 1), None):
        assert promoted(study) == expected
        study.enqueue_trial({}, user_attrs={CONTINUES: 1, UNITS: 2})
        study.tell(study.ask(), state=TrialState.FAIL)


def test_what_is_spent_counts_what_runs_and_what_waits_to_go_on() -> None:
    study = study_with([[0.1], [0.2]])
    assert PRUNER.spent(study.trials) == 2
    study.ask()
    assert PRUNER.spent(study.trials) == 3
    study.enqueue_trial({}, user_attrs={UNITS: 6})
    study.enqueue_trial({})
    assert PRUNER.spent(study.trials) == 9
    for _ in range(2):
        study.tell(study.ask(), state=TrialState.FAIL)
    assert PRUNER.spent(study.trials) == 3


@pytest.mark.parametrize("rungs", [1, 2, 4])
def test_shares_find_their_rung_again(rungs: int) -> None:
    pruner = SuccessiveHalvingPruner(rungs, 3)
    for rung in range(rungs - 1):
        trial = optuna.create_trial(state=TrialState.PRUNED, user_attrs={RUNG: pruner.share(rung)})
        assert pruner.rung_of(trial) == rung
    assert pruner.rung_of(optuna.create_trial(value=1.0)) == rungs - 1
    assert pruner.rung_of(optuna.create_trial(state=TrialState.PRUNED)) is None


def test_a_way_to_the_end_is_owed_until_somebody_is_on_it() -> None:
    study = study_with([])
    assert PRUNER.owed(study.trials) == 0  # what comes first is paid for in full
    study = study_with([[0.5], [0.4]])
    assert PRUNER.owed(study.trials) == PRUNER.full_cost - 1
    study.enqueue_trial({}, user_attrs={CONTINUES: 0, UNITS: PRUNER.cost(1)})
    assert PRUNER.owed(study.trials) == 0
