"""What the time left after a search allows in full KD."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from optuna.study import Study

from kdnas.config import settings_of
from kdnas.runs.context import Context
from kdnas.runtime.console import say
from kdnas.study.winner import Winner, ranked_trials
from kdnas.workflow.planning.estimate import OF_THE_TEACHER
from kdnas.workflow.planning.forecast import DISTIL, foresee
from kdnas.workflow.preparing.epochs_left import share_of, with_share
from kdnas.workflow.preparing.prepare import Prepared

# A student that trains for less than this share of its epochs would tell little of its recipe.
LEAST_SHARE = 0.1


def within_time(prepared: Prepared, study: Study) -> Prepared:
    """The same with epochs of full KD that fit into the time left.

    They are chosen once, before the first student trains: each training ends with the whole decay
    of its learning rate, and all students of the run train alike.
    """
    context = prepared.context
    best = ranked_trials(study, speedup=context.settings.speedup)[0]
    foresee(study, best, context.settings)
    if not context.time.limited:
        return prepared
    share = share_of(context, Winner.of(best, context.settings).candidate).get(
        lambda: _share(context)
    )
    if share == context.settings.epochs_share:
        return prepared
    context = with_share(context, share)
    settings = context.settings
    say(f"full KD: {share:.0%} of the recipe's epochs, to end within --budget {settings.budget}")
    full = cache(
        lambda recipe: replace(prepared.full(recipe), settings=settings_of(settings, recipe))
    )
    return replace(prepared, context=context, full=full)


def _share(context: Context) -> float:
    """The share of the epochs that there is time for, where the run's own student is to train."""
    needed, left = context.time.expected(DISTIL), context.time.left
    free = left - context.time.expected("report")
    own = context.settings.epochs_share
    fixed = context.time.expected(DISTIL, of=OF_THE_TEACHER)  # however few epochs there are
    if needed <= max(free, fixed):
        return own
    return round(own * max(LEAST_SHARE, (free - fixed) / (needed - fixed)), 3)
