"""What the trials of a study say about architectures, in the form that controllers learn from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from kdnas.study.attributes import (
    ASKED,
    CHOICE_ATTR,
    ERROR,
    FIXED_ATTR,
    GIVEN_BACK,
    RETRY_OF,
    RUNG,
    RUNG_VALUES,
)
from kdnas.study.samplers._candidates import CandidateSpace, Code, Codes, Floats

_MAX_FAILURES = 2
# Squares of what lies further out would overflow. A penalty of the largest float is meant as "bad".
_FARTHEST = 1e100


@dataclass(frozen=True)
class Observation:
    """One trial of an architecture that ended."""

    number: int
    code: Code
    values: tuple[float, ...] | None  # one an objective; None where it was not trained
    share: float  # of the full training that the values come from; 1 for a complete trial
    constraints: Mapping[str, float]  # feasible where none exceeds 0


def observe(trials: Iterable[FrozenTrial], space: CandidateSpace) -> list[Observation]:
    """What the ended trials of this space show, by number.

    Values that are not finite count as none; a trial that shows nothing at all is left out.
    """
    found = (_observation(trial, space) for trial in sorted(trials, key=lambda t: t.number))
    return [seen for seen in found if seen is not None]


def _observation(trial: FrozenTrial, space: CandidateSpace) -> Observation | None:
    share, values = 1.0, None
    if trial.state == TrialState.COMPLETE:
        values = trial.values
    elif trial.state != TrialState.PRUNED:
        return None
    elif {RUNG, RUNG_VALUES} <= trial.user_attrs.keys():
        share, values = float(trial.user_attrs[RUNG]), trial.user_attrs[RUNG_VALUES]
    if not values or not all(map(math.isfinite, values)):
        share, values = 1.0, None
    code = space.encode(trial.params)
    if code is None or (values is None and not trial.constraints):
        return None
    constraints = {key: _nearer(value) for key, value in trial.constraints.items()}
    near = None if values is None else tuple(map(_nearer, values))
    return Observation(trial.number, code, near, share, constraints)


def _nearer(value: float) -> float:
    return max(-_FARTHEST, min(_FARTHEST, value)) if math.isfinite(value) else value


def settle(observations: Sequence[Observation]) -> list[Observation]:
    """Makes values of all rungs comparable, and keeps the longest training of each architecture.

    The rung of the longest training is the yardstick. A lower rung's values are shifted by the mean
    difference among the architectures that were seen at both; where none was, by the difference
    of the two rungs' medians.

    Returns:
        Observations in the order given. `share` still says what the values come from.
    """
    trained = [seen for seen in observations if seen.values is not None]
    shares = sorted({seen.share for seen in trained})
    shift = {share: _shift(trained, share, shares[-1]) for share in shares}
    longest: dict[Code, float] = {}
    for seen in trained:
        longest[seen.code] = max(seen.share, longest.get(seen.code, 0.0))
    return [
        seen
        if seen.values is None
        else replace(seen, values=tuple((np.array(seen.values) + shift[seen.share]).tolist()))
        for seen in observations
        if seen.values is None or seen.share == longest[seen.code]
    ]


def _shift(trained: Sequence[Observation], share: float, yardstick: float) -> Floats:
    """What to add to the values of a rung, shape (objectives,)."""
    low = {seen.code: np.array(seen.values) for seen in trained if seen.share == share}
    high = {seen.code: np.array(seen.values) for seen in trained if seen.share == yardstick}
    if both := low.keys() & high.keys():
        return np.asarray(np.mean([high[code] - low[code] for code in sorted(both)], axis=0))
    return np.asarray(np.median([*high.values()], axis=0) - np.median([*low.values()], axis=0))


@dataclass(frozen=True)
class Rewarded:
    """One finished trial: its number, its architecture, its reward (higher is better)."""

    number: int
    code: Code
    reward: float


def make_contexts(
    observations: Sequence[Rewarded], numbers: Sequence[int], episode_size: int, blank: Code
) -> Codes:
    """What was known before each trial of `numbers`, shape (numbers, 2, parameters).

    The first row is the best architecture of the episode before the trial's own, the second the
    best of all trials with a lower number; `blank` where there is none.
    """

    def best(seen: list[Rewarded]) -> Code:
        return max(seen, key=lambda one: one.reward).code if seen else blank

    contexts = [
        (
            best([s for s in observations if s.number // episode_size == n // episode_size - 1]),
            best([s for s in observations if s.number < n]),
        )
        for n in numbers
    ]
    return np.asarray(contexts, dtype=np.int64)


class Turns:
    """Trials counted without those that came to nothing: interrupted, or given back.

    What is drawn by turns is drawn alike in a search that was interrupted and in one that was not.
    """

    def __init__(self, trials: Sequence[FrozenTrial]) -> None:
        again = {trial.user_attrs.get(RETRY_OF) for trial in trials}
        self.lost = {
            trial.number
            for trial in trials
            if trial.state == TrialState.FAIL
            and (trial.number in again or _is_interrupted(trial.user_attrs))
        }

    def of(self, number: int) -> int:
        """The turn of a trial by its number, from 0."""
        return number - sum(lost < number for lost in self.lost)

    def chose(self, trial: FrozenTrial, number: int) -> bool:
        """Whether a trial before this number was a sampler's choice, and not queued by anyone."""
        counts = trial.number < number and trial.number not in self.lost
        return counts and trial.state != TrialState.WAITING and FIXED_ATTR not in trial.system_attrs


def _is_interrupted(attributes: Mapping[str, Any]) -> bool:
    """Of a trial that failed: whether it was given back, or its process killed while it asked."""
    return GIVEN_BACK in attributes or (ASKED in attributes and ERROR not in attributes)


def find_taken(
    trials: Sequence[FrozenTrial], space: CandidateSpace, failures: int = _MAX_FAILURES
) -> set[Code]:
    """The architectures that need no further trial; one that was interrupted does.

    What failed with an error is among them from so many `failures` on.
    """
    lost = Turns(trials).lost
    known = [
        (_code_of(t, space), t.state == TrialState.FAIL) for t in trials if t.number not in lost
    ]
    count = Counter(code for code, failed in known if failed)
    return {
        code
        for code, failed in known
        if code is not None and (not failed or count[code] >= failures)
    }


def find_pending(trials: Sequence[FrozenTrial], space: CandidateSpace) -> Codes:
    """What is tried now, or is about to be, shape (trials, parameters), no row twice."""
    lost = Turns(trials).lost
    codes = {
        _code_of(trial, space)
        for trial in trials
        if not trial.state.is_finished() and trial.number not in lost
    }
    known = sorted(code for code in codes if code is not None)
    return np.array(known, np.int64).reshape(len(known), len(space.names))


def _code_of(trial: FrozenTrial, space: CandidateSpace) -> Code | None:
    """What a trial evaluates or is about to; None where that isn't in this space.

    A trial with further parameters is no architecture of this space: the same choices with other
    values of those are worth another trial.
    """
    if not trial.params.keys() <= set(space.names):
        return None
    if trial.state.is_finished():
        return space.encode(trial.params)
    planned = space.decode_choice(trial.system_attrs.get(CHOICE_ATTR, {}))
    return space.encode({**planned, **trial.system_attrs.get(FIXED_ATTR, {}), **trial.params})


def count_undecided(trials: Iterable[FrozenTrial], number: int) -> int:
    """How many trials started before trial `number` and have not chosen yet."""
    return sum(
        trial.state == TrialState.RUNNING
        and trial.number < number
        and not trial.params
        and not {CHOICE_ATTR, FIXED_ATTR} & trial.system_attrs.keys()
        for trial in trials
    )
