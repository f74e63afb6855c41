"""Successive halving: candidates train a little, and the better part goes on.

Asynchronous, as ASHA (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning"): a
candidate goes on as soon as it is among the best `1 / reduction` of those that were scored on its
rung, so that no worker waits for another. Optuna's pruners know one objective only; here several
are ranked by non-dominated sorting.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from kdnas.study.pareto import best_first
from kdnas.study.samplers.names import RUNG, RUNG_VALUES

# Attributes of a trial: the trial that it goes on from, and what it costs, in units of the first
# rung. RUNG is the share of a whole training that it has behind it, RUNG_VALUES its values there.
CONTINUES = "continues"
UNITS = "units"

MOST_FAILURES = 2


@dataclass(frozen=True)
class Ladder:
    """The rungs of a search, counted from 0.

    Attributes:
        rungs: How many; with 1, every candidate is trained to the end at once.
        reduction: One candidate of so many goes on, and is trained so many times as long.
    """

    rungs: int = 1
    reduction: int = 3

    @property
    def top(self) -> int:
        """Units of a whole training; the first rung takes 1."""
        return int(self.reduction ** (self.rungs - 1))

    def share(self, rung: int) -> float:
        """Share of a whole training at the end of a rung."""
        return float(self.reduction**rung / self.top)

    def cost(self, rung: int) -> int:
        """Units from the rung before to this one."""
        return int(self.reduction**rung - (self.reduction ** (rung - 1) if rung else 0))

    def candidates(self, trainings: int) -> int:
        """Students that the cost of so many whole trainings is expected to look at."""
        each = sum(self.cost(rung) / float(self.reduction**rung) for rung in range(self.rungs))
        return round(trainings * self.top / each)

    def rung_of(self, trial: FrozenTrial) -> int | None:
        """The rung that a finished trial ended on; None where it was never scored."""
        if trial.state == TrialState.COMPLETE:
            return self.rungs - 1
        share = trial.user_attrs.get(RUNG)
        return share and round(math.log(share * self.top, self.reduction))


@dataclass(frozen=True)
class Promotion:
    """A candidate that goes on.

    Attributes:
        trial: Where it stopped.
        rung: To which one.
    """

    trial: FrozenTrial
    rung: int


def next_promotion(study: Study, ladder: Ladder, left: int, *, fresh: bool) -> Promotion | None:
    """Who goes on next, from the highest rung down; None where nobody has earned it.

    Args:
        study: With the trials so far.
        ladder: The rungs.
        left: Units that may still be spent; nobody goes on who could not reach the top with them.
        fresh: Whether new candidates come. Where none does, the best that wait go on, whatever
            their number.
    """
    for rung in reversed(range(ladder.rungs - 1)):
        seen = scored_on(study, ladder, rung)
        quota = len(seen) // ladder.reduction if fresh else len(seen)
        gone_on = _gone_on(study)
        for trial in ranked(seen, study.directions)[:quota]:
            if trial.number not in gone_on and ladder.top - ladder.reduction**rung <= left:
                return Promotion(trial, rung + 1)
    return None


def scored_on(study: Study, ladder: Ladder, rung: int) -> list[FrozenTrial]:
    """Trials that ended on a rung below the top."""
    pruned = study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
    return [t for t in pruned if RUNG_VALUES in t.user_attrs and ladder.rung_of(t) == rung]


def ranked(
    trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]
) -> list[FrozenTrial]:
    """Trials of one rung, the best first."""
    signs = [-1.0 if d == StudyDirection.MAXIMIZE else 1.0 for d in directions]
    points = [
        [s * v for s, v in zip(signs, t.user_attrs[RUNG_VALUES], strict=True)] for t in trials
    ]
    return [trials[i] for i in best_first(points)]


def spent(trials: Iterable[FrozenTrial], ladder: Ladder) -> int:
    """Units that trials have cost or, while they run or wait to go on, will cost."""
    unknown = {
        TrialState.COMPLETE: ladder.top,
        TrialState.RUNNING: 1,
        TrialState.WAITING: 0,
        TrialState.PRUNED: 0,
    }
    return sum(int(t.user_attrs.get(UNITS, unknown[t.state])) for t in trials if t.state in unknown)


def _gone_on(study: Study) -> set[int]:
    """Trials whose candidate went on, is about to, or failed to more than once."""
    failures: dict[int, int] = {}
    gone = set()
    for trial in study.get_trials(deepcopy=False):
        origin = trial.user_attrs.get(CONTINUES)
        if origin is None:
            continue
        if trial.state == TrialState.FAIL:
            failures[origin] = failures.get(origin, 0) + 1
        else:
            gone.add(origin)
    return gone | {origin for origin, count in failures.items() if count >= MOST_FAILURES}
