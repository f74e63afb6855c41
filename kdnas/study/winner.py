"""Which trial of a study is distilled in full."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.study import Study
from optuna.trial import FrozenTrial

from kdnas.errors import KdnasError
from kdnas.scoring.limits import MARGIN, Limits
from kdnas.study.study import evaluated, has_score, infeasible


def choose_winner(
    study: Study, *, number: int | None = None, speedup: float | None = None
) -> FrozenTrial:
    """A trial by number, the best loss at a speed-up, or the best reward.

    At a speed-up, trials that exceed it by a margin come first: timed again, they shall still
    reach it.

    Raises:
        KdnasError: There is no such trial.
    """
    trials = evaluated(study)
    if not has_score(study) and (broken := infeasible(study)):
        raise KdnasError(none_feasible(broken))
    if not trials:
        raise KdnasError(f"study {study.study_name!r} has no finished trial yet")
    if number is not None:
        named = {t.number: t for t in trials}
        if number not in named:
            raise KdnasError(
                f"trial {number} is not a finished trial of this study; finished: "
                f"{', '.join(map(str, named))}"
            )
        return named[number]
    if speedup is None:
        return max(trials, key=lambda t: float(t.user_attrs["reward"]))
    for least in (MARGIN * speedup, speedup):
        fast = [t for t in trials if t.user_attrs["speedup"] >= least]
        if fast:
            return min(fast, key=lambda t: float(t.user_attrs["loss"]))
    best = max(t.user_attrs["speedup"] for t in trials)
    raise KdnasError(f"no trial is {speedup:g} times as fast; the fastest is {best:.2f} times")


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
