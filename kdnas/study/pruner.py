"""Successive halving: candidates train a little, and the better part goes on.

Asynchronous, as ASHA (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning"): a
candidate goes on as soon as it is among the best `1 / reduction` of those scored on its rung, so
that no worker waits for another. Optuna's pruners know one objective only; here several are ranked
by non-dominated sorting.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from kdnas.study.attributes import CONTINUES, RUNG, RUNG_VALUES, UNITS
from kdnas.study.pareto import best_first

MAX_FAILURES = 2


@dataclass(frozen=True)
class SuccessiveHalvingPruner:
    """The rungs of a search, counted from 0; costs are in trainings to the first rung.

    With one rung, every candidate is trained to the end at once. One candidate in `reduction` goes
    on to the next rung, and trains that many times as long.
    """

    rungs: int = 1
    reduction: int = 3

    @property
    def last(self) -> int:
        """The rung at the end of a full training."""
        return self.rungs - 1

    @property
    def full_cost(self) -> int:
        """Units of a full training."""
        return int(self.reduction**self.last)

    def share(self, rung: int) -> float:
        """Share of a full training at the end of a rung."""
        return float(self.reduction**rung / self.full_cost)

    def cost(self, rung: int) -> int:
        """Units from the rung before to this one."""
        return int(self.reduction**rung - (self.reduction ** (rung - 1) if rung else 0))

    def expected_candidates(self, trainings: int) -> int:
        """Candidates that the cost of this many full trainings is expected to pay for."""
        each = sum(self.cost(rung) / float(self.reduction**rung) for rung in range(self.rungs))
        return round(trainings * self.full_cost / each)

    def rung_of(self, trial: FrozenTrial) -> int | None:
        """The rung that a finished trial ended on; None where it was never scored."""
        if trial.state == TrialState.COMPLETE:
            return self.last
        share = trial.user_attrs.get(RUNG)
        return share and self.rung_at(share)

    def rung_at(self, share: float) -> int:
        """The rung at the end of a share of a full training."""
        return round(math.log(share * self.full_cost, self.reduction))

    def spent(self, trials: Iterable[FrozenTrial]) -> int:
        """Units that trials have cost or, while they run or wait to go on, will cost."""
        unknown = {
            TrialState.COMPLETE: self.full_cost,
            TrialState.RUNNING: 1,
            TrialState.WAITING: 0,
            TrialState.PRUNED: 0,
        }
        known = [t for t in trials if t.state in unknown]
        return sum(int(t.user_attrs.get(UNITS, unknown[t.state])) for t in known)

    def owed(self, trials: Sequence[FrozenTrial]) -> int:
        """Units that are paid for whatever was spent: without a full training there is no student.

        Those that the best candidate needs from the first rung, where some wait on rungs and none
        was trained to the end, nor goes on right now; else 0.
        """
        under_way = (TrialState.RUNNING, TrialState.WAITING)
        ends = any(
            t.state == TrialState.COMPLETE or (t.state in under_way and CONTINUES in t.user_attrs)
            for t in trials
        )
        waits = any(RUNG in t.user_attrs for t in trials)
        return self.full_cost - 1 if waits and not ends else 0

    def scored_on(self, study: Study, rung: int) -> list[FrozenTrial]:
        """Trials that ended on a rung below the last, the best first."""
        pruned = study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
        seen = [t for t in pruned if RUNG_VALUES in t.user_attrs and self.rung_of(t) == rung]
        signs = [-1.0 if d == StudyDirection.MAXIMIZE else 1.0 for d in study.directions]
        points = [
            [s * v for s, v in zip(signs, t.user_attrs[RUNG_VALUES], strict=True)] for t in seen
        ]
        return [seen[i] for i in best_first(points)]

    def next_promotion(
        self, study: Study, units_left: int, *, fresh: bool
    ) -> tuple[FrozenTrial, int] | None:
        """The trial that goes on next, and to which rung, from the highest rung down.

        Nobody goes on who could not reach the end with the units left. Where no new candidates come
        (`fresh`), the best that wait go on, whatever their number.
        """
        for rung in reversed(range(self.last)):
            seen = self.scored_on(study, rung)
            quota = len(seen) // self.reduction if fresh else len(seen)
            continued = _continued(study)
            for trial in seen[:quota]:
                needed = self.full_cost - self.reduction**rung
                if trial.number not in continued and needed <= units_left:
                    return trial, rung + 1
        return None


def _continued(study: Study) -> set[int]:
    """Trials whose candidate went on, is about to, or failed to more than once."""
    trials = [t for t in study.get_trials(deepcopy=False) if CONTINUES in t.user_attrs]
    failures = Counter(t.user_attrs[CONTINUES] for t in trials if t.state == TrialState.FAIL)
    gone = {t.user_attrs[CONTINUES] for t in trials if t.state != TrialState.FAIL}
    return gone | {number for number, count in failures.items() if count >= MAX_FAILURES}
