"""The time at which a study's search ends, which all its workers read from the study."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from kdnas.study.attributes import DEADLINE, INFEASIBLE, UNITS
from kdnas.study.pruner import SuccessiveHalvingPruner

Clock = Callable[[], float]
# Students that break a limit after which no first one is asked for when the time is over.
MAX_LATE = 10


@dataclass(frozen=True)
class Deadline:
    """When a search ends; the clocks of machines that share a study must agree.

    Attributes:
        until: Seconds since the epoch.
        trials: Whole trainings that the study is expected to have paid for by then.
        seconds: What a whole training should take one worker, until some have ended.
    """

    until: float
    trials: int
    seconds: float

    @classmethod
    def of(cls, study: Study) -> Deadline | None:
        """That of a study; None where a number of trials alone ends it."""
        found: Any = study.user_attrs.get(DEADLINE)
        return None if found is None else cls(**found)

    def write(self, study: Study) -> None:
        """Tells all workers."""
        study.set_user_attr(DEADLINE, asdict(self))

    @staticmethod
    def clear(study: Study) -> None:
        """From now on a number of trials alone ends the search of a study."""
        if study.user_attrs.get(DEADLINE) is not None:
            study.set_user_attr(DEADLINE, None)  # Optuna cannot delete attributes

    def units_left(
        self,
        trials: Sequence[FrozenTrial],
        pruner: SuccessiveHalvingPruner,
        clock: Clock = time.time,
    ) -> int:
        """Trainings to the first rung that one worker can still finish by then.

        The first whole training is always paid for: without it there is no student. Of what breaks
        the limits, a few are tried once the time is over.
        """
        if not pruner.spent(trials):
            broken = sum(INFEASIBLE in t.user_attrs for t in trials)
            return 0 if broken >= MAX_LATE and clock() >= self.until else pruner.full_cost
        each = seconds_a_unit(trials) or self.seconds / pruner.full_cost
        return max(pruner.owed(trials), int((self.until - clock()) / each))

    def is_over(self, trials: Sequence[FrozenTrial], clock: Clock = time.time) -> bool:
        """Whether nothing starts any more, not even what is queued: late, and a trial has ended."""
        ended = any(t.state == TrialState.COMPLETE for t in trials)
        return ended and clock() >= self.until


def seconds_a_unit(trials: Sequence[FrozenTrial]) -> float | None:
    """What a training to the first rung took so far, on average; None where none has ended."""
    ended = [t for t in trials if t.user_attrs.get(UNITS) and "reward" in t.user_attrs]
    known = [t for t in ended if t.user_attrs.get("seconds")]
    if not known:
        return None
    return fmean(float(t.user_attrs["seconds"]) / int(t.user_attrs[UNITS]) for t in known)
