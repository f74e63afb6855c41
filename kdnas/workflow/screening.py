"""Candidates scored as they are initialised: the best of many are a search's first trials.

What a student inherits from its teacher ranks students of one speed about as well as mini-KD does,
at a fraction of the time (docs/results.md, Students of one speed). Abdelfattah et al. 2021,
Zero-Cost Proxies for Lightweight NAS, call such a beginning of a search its warm-up.
"""

from __future__ import annotations

import itertools
import math
import platform
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kdnas.runs.context import run_step
from kdnas.runtime.console import progress
from kdnas.scoring.limits import Limits, may_keep
from kdnas.scoring.reward import candidate_reward
from kdnas.space import NOT_PRUNED, Candidate
from kdnas.workflow.prepare import Prepared

SCREENING = "screening"
# At most so many a planned trial, and the best of them: one planned trial in so many.
A_TRIAL, SHARE = 2, 4
# Shapes that are too slow cost a timing: after so many times as many as are asked for, no more.
MOST_TIMED = 2


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

    def compute() -> list[list[Any]]:
        return [[one.params, worth] for one, worth in _scored(prepared, likely, like, count)]

    key = {
        "likely": [one.params for one in likely],
        "like": like.params,
        "count": count,
        "host": platform.node(),
        "environment": prepared.context.runtime.describe(),
    }
    found = run_step(prepared.context, "screened", key, compute)
    best = sorted(found, key=lambda one: -float(one[1]))[: max(1, trials // SHARE)]
    return [Candidate.from_params(params) for params, _ in best]


def _scored(
    prepared: Prepared, likely: Sequence[Candidate], like: Candidate, count: int
) -> Iterator[tuple[Candidate, float]]:
    """Candidates that keep the limits, each with its reward as it is initialised."""
    settings, meter = prepared.context.settings, prepared.meter
    limits, left = Limits(settings.speedup, settings.max_params), count
    pool, seen = itertools.chain(likely, _at_random(prepared, like)), set[Candidate]()
    with progress(SCREENING, count) as advance:
        for candidate in itertools.islice(pool, MOST_TIMED * count):
            if candidate in seen:
                continue
            seen.add(candidate)
            costs = meter.of_candidate(candidate)
            if max(limits.violations(costs.speedup, costs.params).values(), default=0) > 0:
                continue
            score = prepared.mini.initial(candidate)
            if score is None or not math.isfinite(score):
                continue
            advance("")
            yield candidate, candidate_reward(score, costs, meter)
            left -= 1
            if not left:
                return


def _at_random(prepared: Prepared, like: Candidate) -> Iterator[Candidate]:
    """Shapes of the space that may keep the limits, in an order that the seed decides."""
    settings, shapes = prepared.context.settings, prepared.inputs.space.architectures
    limits = Limits(settings.speedup, settings.max_params)
    like = replace(like, pruning=NOT_PRUNED, assistants=())
    for i in np.random.default_rng(settings.seed).permutation(len(shapes)):
        candidate = replace(like, architecture=shapes[i])
        if may_keep(limits, candidate, prepared.meter):
            yield candidate
