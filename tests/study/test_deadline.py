"""What time still pays for in a study."""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from kdnas.study.attributes import CONTINUES, INFEASIBLE, RUNG, UNITS
from kdnas.study.deadline import MAX_LATE, Deadline, seconds_a_unit
from kdnas.study.optimize import expected_trials
from kdnas.study.pruner import SuccessiveHalvingPruner

WHOLE, RUNGS = SuccessiveHalvingPruner(), SuccessiveHalvingPruner(2, 3)


def trial(seconds: float, units: int = 1) -> FrozenTrial:
    known = {"reward": 1.0, "seconds": seconds, UNITS: units}
    return create_trial(state=TrialState.COMPLETE, value=1.0, user_attrs=known)


def test_trials_that_still_end_in_time() -> None:
    deadline, clock = Deadline(until=100.0, trials=9, seconds=20.0), lambda: 40.0
    waiting = create_trial(state=TrialState.RUNNING, user_attrs={UNITS: 1})
    assert deadline.units_left([waiting], WHOLE, clock) == 3  # as forecast
    assert deadline.units_left([trial(10.0), trial(14.0)], WHOLE, clock) == 5  # as measured
    assert deadline.units_left([trial(61.0)], WHOLE, clock) == 0
    assert deadline.units_left([trial(5.0)], WHOLE, lambda: 101.0) == 0


def test_the_first_trial_is_tried_however_late_it_is() -> None:
    late = Deadline(until=0.0, trials=1, seconds=20.0)
    assert late.units_left([], WHOLE) == 1
    assert late.units_left([], RUNGS) == 3


def test_on_rungs_seconds_are_those_of_a_part() -> None:
    seen = [trial(10.0), trial(20.0, units=2)]
    assert seconds_a_unit(seen) == 10.0
    assert Deadline(100.0, 9, 60.0).units_left(seen, RUNGS, lambda: 65.0) == 3
    assert seconds_a_unit([create_trial(state=TrialState.FAIL)]) is None


def test_workers_read_it_from_the_study() -> None:
    study = optuna.create_study()
    assert Deadline.of(study) is None and expected_trials(study, 20) == 20
    Deadline(123.0, 8, 2.0).write(study)
    assert Deadline.of(study) == Deadline(123.0, 8, 2.0)
    assert expected_trials(study, 20) == 8 and expected_trials(study, 5) == 5


def on_rung(state: TrialState = TrialState.PRUNED, **attributes: object) -> FrozenTrial:
    known = {UNITS: 1, RUNG: 1 / 3, "reward": 1.0, "seconds": 9.0, **attributes}
    return create_trial(state=state, user_attrs=known)


def test_one_candidate_goes_on_to_the_end_however_late_it_is() -> None:
    late, waits = Deadline(until=0.0, trials=1, seconds=20.0), on_rung()
    assert late.units_left([waits], RUNGS) == RUNGS.cost(1)
    for state in (TrialState.WAITING, TrialState.RUNNING):
        goes_on = create_trial(state=state, user_attrs={CONTINUES: 0, UNITS: 2})
        assert late.units_left([waits, goes_on], RUNGS) == 0
    lost = create_trial(state=TrialState.FAIL, user_attrs={CONTINUES: 0, UNITS: 2})
    assert late.units_left([waits, lost], RUNGS) == RUNGS.cost(1)
    assert late.units_left([waits, trial(18.0, units=2)], RUNGS) == 0
    three = SuccessiveHalvingPruner(3, 3)  # from either rung
    for share, needed in ((1 / 9, 8), (1 / 3, 6)):
        assert needed <= late.units_left([on_rung(**{RUNG: share})], three) < three.full_cost


def test_where_none_keeps_the_limits_the_search_ends_with_its_time() -> None:
    late = Deadline(until=100.0, trials=1, seconds=20.0)
    broken = [create_trial(state=TrialState.PRUNED, user_attrs={UNITS: 0, INFEASIBLE: True})]
    for count, clock, left in ((1, 101.0, 3), (MAX_LATE, 99.0, 3), (MAX_LATE, 101.0, 0)):
        assert late.units_left(count * broken, RUNGS, lambda now=clock: now) == left


def test_what_is_queued_does_not_start_once_time_is_up() -> None:
    deadline, queued = Deadline(100.0, 9, 20.0), create_trial(state=TrialState.WAITING)
    assert not deadline.is_over([trial(5.0), queued], lambda: 99.0)
    assert deadline.is_over([trial(5.0), queued], lambda: 100.0)
    assert not deadline.is_over([on_rung(), queued], lambda: 101.0)  # no student yet
