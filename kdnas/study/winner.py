"""Which trial of a study is distilled in full."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial

from kdnas.config import Settings
from kdnas.errors import KdnasError, MissedLimitError
from kdnas.scoring.costs import margin_of
from kdnas.scoring.limits import Limits
from kdnas.space import Candidate, Pruning
from kdnas.study.study import evaluated, has_score, infeasible


@dataclass(frozen=True)
class Winner:
    """What is distilled in full: a candidate, and the trial that a study chose; None if given."""

    candidate: Candidate
    trial: int | None = None

    @classmethod
    def of(cls, trial: FrozenTrial, settings: Settings) -> Winner:
        """The candidate of a trial, in a search with these settings."""
        return cls(Candidate.of_trial(trial.params, settings), trial.number)


def choose_winner(
    study: Study, *, number: int | None = None, speedup: float | None = None
) -> FrozenTrial:
    """The best trial by `ranked_trials`; raises what that does."""
    return ranked_trials(study, number=number, speedup=speedup)[0]


def ranked_trials(
    study: Study, *, number: int | None = None, speedup: float | None = None
) -> list[FrozenTrial]:
    """A trial by number, or those of a speed-up by loss, or all by reward; the best first.

    At a speed-up, trials that exceed it by a margin come first: timed again, they shall still
    reach it.

    Raises:
        KdnasError: There is no such trial.
        MissedLimitError: No trial is so fast.
    """
    trials = evaluated(study)
    if number is not None:
        return [_named(study, trials, number)]
    if not has_score(study) and (broken := infeasible(study)):
        raise MissedLimitError(none_feasible(broken))
    if not trials:
        raise KdnasError(f"study {study.study_name!r} has no finished trial yet")
    if speedup is None:
        return sorted(trials, key=lambda t: -float(t.user_attrs["reward"]))
    fast = [t for t in trials if t.user_attrs["speedup"] >= speedup]
    if fast:
        return sorted(fast, key=lambda t: (_is_near(t, speedup), t.user_attrs["loss"]))
    best = max(t.user_attrs["speedup"] for t in trials)
    raise MissedLimitError(
        f"no trial is {speedup:g} times as fast; the fastest is {best:.2f} times: give --speedup "
        f"{math.floor(100 * best) / 100:g} or less"
    )


def _named(study: Study, trials: Sequence[FrozenTrial], number: int) -> FrozenTrial:
    """The trial of a number, which has a score."""
    named = {t.number: t for t in trials}
    if number in named:
        return named[number]
    broken = {t.number: t.user_attrs for t in infeasible(study)}
    if number in broken:
        told = f"it breaks a limit of the search, {_costs(broken[number])}"
        raise KdnasError(f"trial {number} has no score: {told}")
    finished = ", ".join(map(str, named)) or "none yet"
    raise KdnasError(f"trial {number} is not a finished trial of this study; finished: {finished}")


def _costs(attrs: Mapping[str, Any]) -> str:
    return (
        f"with {attrs['params']:,} parameters and {attrs['speedup']:.2f} times the teacher's speed"
    )


def _is_near(trial: FrozenTrial, speedup: float) -> bool:
    """Whether a trial exceeds a speed-up by less than its margin."""
    margin = margin_of(Pruning.from_params(trial.params), speedup)
    return float(trial.user_attrs["speedup"]) < margin * speedup


def pareto_front(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Trials that no other dominates in loss and speed-up, fastest first.

    Speed-up, not latency: milliseconds of trials that ran at different times do not compare.
    """
    front: list[FrozenTrial] = []
    for trial in sorted(trials, key=lambda t: (-t.user_attrs["speedup"], t.user_attrs["loss"])):
        if not front or trial.user_attrs["loss"] < front[-1].user_attrs["loss"]:
            front.append(trial)
    return front


def possible_winners(study: Study) -> set[int]:
    """Numbers of trials that may still be distilled: the front's and the best reward's."""
    best = choose_winner(study)
    return {best.number, *(t.number for t in pareto_front(evaluated(study)))}


def none_feasible(trials: Sequence[FrozenTrial], limits: Limits | None = None) -> str:
    """The message for a study whose trials, at least one, all break the limits."""
    fastest = max(trials, key=lambda t: float(t.user_attrs["speedup"])).user_attrs
    smallest = min(trials, key=lambda t: int(t.user_attrs["params"])).user_attrs
    return (
        f"none of the {len(trials)} students tried keeps {limits or 'the limits'}: the fastest, "
        f"with {fastest['params']:,} parameters, is {fastest['speedup']:.2f} times as fast as the "
        f"teacher, the smallest has {smallest['params']:,} parameters; loosen a limit or give "
        "smaller students in `space`"
    )
