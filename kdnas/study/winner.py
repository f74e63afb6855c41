"""Which trial of a study is distilled."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.study import Study
from optuna.trial import FrozenTrial

from kdnas.errors import KdnasError
from kdnas.study.constraints import MARGIN, all_beyond
from kdnas.study.trials import anybody_scored, beyond_limits, evaluated


def choose_winner(
    study: Study, *, number: int | None = None, speedup: float | None = None
) -> FrozenTrial:
    """A trial by number, the best loss at a given speed-up, or the best reward.

    Of trials at a speed-up, those with a margin: timed again, they shall still have it.

    Raises:
        KdnasError: There is no such trial.
    """
    trials = evaluated(study)
    if not anybody_scored(study) and (broken := beyond_limits(study)):
        raise KdnasError(all_beyond(broken))
    if not trials:
        raise KdnasError(f"study {study.study_name!r} has no finished trial yet")
    if number is not None:
        return _by_number(trials, number)
    if speedup is None:
        return max(trials, key=lambda t: float(t.user_attrs["reward"]))
    for least in (MARGIN * speedup, speedup):
        fast = [t for t in trials if t.user_attrs["speedup"] >= least]
        if fast:
            return min(fast, key=lambda t: float(t.user_attrs["loss"]))
    best = max(t.user_attrs["speedup"] for t in trials)
    raise KdnasError(f"no trial is {speedup:g} times as fast; the fastest is {best:.2f} times")


def pareto_front(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Trials that no other beats in both loss and speed-up, fastest first.

    Speed-up, not latency: milliseconds of trials that ran at different times do not compare.
    """
    front: list[FrozenTrial] = []
    for trial in sorted(trials, key=lambda t: (-t.user_attrs["speedup"], t.user_attrs["loss"])):
        if not front or trial.user_attrs["loss"] < front[-1].user_attrs["loss"]:
            front.append(trial)
    return front


def kept_trials(study: Study) -> set[int]:
    """Numbers of trials that may yet be distilled: the front's and the best reward's."""
    trials = evaluated(study)
    best = choose_winner(study)
    return {best.number, *(t.number for t in pareto_front(trials))}


def _by_number(trials: Sequence[FrozenTrial], number: int) -> FrozenTrial:
    for trial in trials:
        if trial.number == number:
            return trial
    numbers = ", ".join(str(t.number) for t in trials)
    raise KdnasError(f"trial {number} is not a finished trial of this study; finished: {numbers}")
