"""Which of the workers that ask at the same moment may go on.

Storages have no lock that spans asking: two workers may be proposed the same student, or may both
start the last trial. So each signs its trial first and looks at the others' afterwards, and of two
that are at odds one at least sees the other. Who has begun goes on; else the lower number does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from kdnas.study.budget import Plan
from kdnas.study.rungs import UNITS, spent
from kdnas.study.samplers.names import RETRY_OF
from kdnas.study.workers import WORKER, Lookout, worker_name

BEGUN = "begun"
UNDECIDED_SECONDS = 0.05


class LostTrialError(Exception):
    """Another process has the trial, or took this one for dead."""


def admit(study: Study, trial: Trial, plan: Plan, lookout: Lookout) -> str | None:
    """Marks a signed trial as begun, or tells why it must be given back.

    Args:
        study: Of the trial.
        trial: With all its parameters, signed.
        plan: The budget.
        lookout: Frees the trials of workers that died undecided.

    Raises:
        LostTrialError: Another process was handed the same trial.
    """
    while True:
        trials = study.get_trials(deepcopy=False)
        ours = trials[trial.number]
        if ours.user_attrs.get(BEGUN):
            raise LostTrialError
        known = [t for t in trials if t.number != ours.number and _counts(t, ours)]
        open_ = {t.number for t in known if t.state == TrialState.RUNNING and not _begun(t)}
        first = [t for t in known if t.number not in open_ or t.number < ours.number]
        if reason := _conflict(ours, first, plan):
            return reason
        if not _conflict(ours, known, plan):
            break
        time.sleep(UNDECIDED_SECONDS)
        lookout.release_dead()
    trial.set_user_attr(BEGUN, True)
    if study.get_trials(deepcopy=False)[trial.number].user_attrs[WORKER] != worker_name():
        raise LostTrialError  # SQLite hands a waiting trial to two at once
    return None


def _counts(other: FrozenTrial, ours: FrozenTrial) -> bool:
    """Whether another trial must be looked at: not those that will look at ours."""
    if other.state == TrialState.WAITING:
        return other.number < ours.number
    return other.state != TrialState.RUNNING or WORKER in other.user_attrs


def _begun(trial: FrozenTrial) -> bool:
    return bool(trial.user_attrs.get(BEGUN))


def _conflict(ours: FrozenTrial, others: Sequence[FrozenTrial], plan: Plan) -> str | None:
    for other in others:
        if other.state == TrialState.RUNNING and other.params == ours.params:
            return f"trial {other.number} is of the same student"
        lost = ours.user_attrs.get(RETRY_OF)
        again = lost is not None and other.user_attrs.get(RETRY_OF) == lost
        if again and other.number < ours.number:
            return f"trial {other.number} repeats trial {lost} already"
    cost = int(ours.user_attrs.get(UNITS, 1))
    if spent(others, plan.ladder) + cost > plan.units:
        return "the budget is spent by others"
    return None
