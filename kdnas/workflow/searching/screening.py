"""Candidates scored as they are initialised: the best of many are a search's first trials.

What a student inherits from its teacher ranks students of one speed about as well as mini-KD does,
at a fraction of the time (docs/results.md, Students of one speed). Abdelfattah et al. 2021,
Zero-Cost Proxies for Lightweight NAS, call such a beginning of a search its warm-up.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kdnas.runs.context import run_step
from kdnas.runtime.console import progress
from kdnas.runtime.hand_out import hand_out
from kdnas.scoring.costs import TOGETHER
from kdnas.scoring.limits import Limits, may_keep
from kdnas.scoring.reward import candidate_reward
from kdnas.space import NOT_PRUNED, Candidate
from kdnas.workflow.preparing.count_jobs import count_jobs
from kdnas.workflow.preparing.prepare import Prepared

SCREENING = "screening"
# At most so many a planned trial, and the best of them: one planned trial in so many.
A_TRIAL, SHARE = 2, 4
# The best untrained students are the largest, many of them too slow: so many are timed for each
# that is looked for.
TIMED = 5
# Within a limit on the speed, those with fewer multiply-accumulates than the teacher's over so many
# times the speed-up come last.
LARGEST = 1.75


def count_screened(screen: int, trials: int) -> int:
    """How many candidates are scored untrained for a search of so many trials."""
    return min(screen, A_TRIAL * trials)


def screened(
    prepared: Prepared, likely: Sequence[Candidate], like: Candidate, trials: int
) -> list[Candidate]:
    """The best candidates by their reward before any training, the best first.

    Args:
        prepared: Of the run.
        likely: Shapes from elsewhere, which are scored first.
        like: Has the recipe and the vocabulary of those that are drawn at random.
        trials: Of the search. None are scored where --screen is 0, or another scorer than mini-KD
            is used, or a candidate's recipe begins with a general teacher.
    """
    settings, space = prepared.context.settings, prepared.inputs.space
    count = count_screened(settings.screen, trials)
    if not count or prepared.scorer is not prepared.mini or not space.has_dense:
        return []

    def compute() -> list[dict[str, Any]]:
        scored = _scored(prepared, likely, like, count)
        return [one.params for one in _best(prepared, scored, max(1, trials // SHARE))]

    key = {
        "likely": [one.params for one in likely],
        "like": like.params,
        "count": count,
        "trials": trials,
        **prepared.context.machine,
    }
    found = run_step(prepared.context, "screened", key, compute)
    return [Candidate.from_params(params) for params in found]


def _scored(
    prepared: Prepared, likely: Sequence[Candidate], like: Candidate, count: int
) -> list[tuple[Candidate, float]]:
    """Candidates with their scores as they are initialised; side by side where that can be."""
    mini, found = prepared.mini, dict[Candidate, float | None]()
    pool = _each_once(itertools.chain(likely, _at_random(prepared, like)))
    chosen = list(itertools.islice(pool, count))
    jobs = count_jobs(prepared.context, len(chosen), prepared.meter.teacher_params)
    with progress(SCREENING, len(chosen)) as advance:

        def keep(number: int, score: float | None) -> None:
            found[chosen[number]] = score
            advance("")

        if jobs > 1:
            numbers = iter(range(len(chosen)))
            hand_out(
                *(jobs, lambda: next(numbers, None)),
                *(lambda number, _: mini.initial(chosen[number]), keep),
            )
        for number, candidate in enumerate(chosen):  # what is left, here
            if candidate not in found:
                keep(number, mini.initial(candidate))
            if found[candidate] is None:  # nor has any other
                return []
    return [(one, score) for one in chosen if math.isfinite(score := found[one] or 0.0)]


def _each_once(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    seen = set[Candidate]()
    for candidate in candidates:
        if candidate not in seen:
            seen.add(candidate)
            yield candidate


def _best(
    prepared: Prepared, scored: Sequence[tuple[Candidate, float]], count: int
) -> list[Candidate]:
    """So many of the best that keep the limits, by reward.

    Within a limit on the speed the score alone decides: candidates are timed from the best on,
    until there are enough. Without one the reward weighs speed, too, and all are timed.
    """
    settings, meter = prepared.context.settings, prepared.meter
    limits, limited = Limits.of(settings), settings.speedup is not None
    order = sorted(scored, key=lambda one: -one[1])[: TIMED * count if limited else None]
    found: list[tuple[Candidate, float]] = []
    for start in range(0, len(order), TOGETHER):
        some = order[start : start + TOGETHER]
        costs = meter.of_candidates([candidate for candidate, _ in some])
        found += [
            (candidate, candidate_reward(score, cost, meter))
            for (candidate, score), cost in zip(some, costs, strict=True)
            if not limits.breaks(cost.speedup, cost.params)
        ]
        if limited and len(found) >= count:
            break
    best = found[:count] if limited else found
    return [one for one, _ in sorted(best, key=lambda one: -one[1])[:count]]


def _at_random(prepared: Prepared, like: Candidate) -> Iterator[Candidate]:
    """Shapes of the space that may keep the limits, in an order that the seed decides.

    Within a limit on the speed, those that are about as large as it allows come before the others,
    which inherit less.
    """
    settings, shapes = prepared.context.settings, prepared.inputs.space.architectures
    limits, meter = Limits.of(settings), prepared.meter
    like, small = replace(like, pruning=NOT_PRUNED, assistants=()), list[Candidate]()
    largest = math.inf if settings.speedup is None else LARGEST * settings.speedup
    for i in np.random.default_rng(settings.seed).permutation(len(shapes)):
        candidate = replace(like, architecture=shapes[i])
        if not may_keep(limits, candidate, meter):
            continue
        if meter.teacher_macs > largest * meter.macs_of(candidate):
            small.append(candidate)
        else:
            yield candidate
    yield from small
