"""What the time left after a search allows in full KD."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from optuna.study import Study

from kdnas.config import Settings, settings_of
from kdnas.files.artifact import key_of
from kdnas.recipes.stages import longer, longer_for
from kdnas.runs.context import Context
from kdnas.runtime.console import say
from kdnas.space import AnyArchitecture, Architecture
from kdnas.study.winner import Winner, ranked_trials
from kdnas.workflow.planning.estimate import OF_THE_TEACHER, share_planned
from kdnas.workflow.planning.forecast import DISTIL, foresee
from kdnas.workflow.preparing.epochs_left import share_of, with_share
from kdnas.workflow.preparing.prepare import Prepared

# A student that trains for less than this share of its epochs would tell little of its recipe.
LEAST_SHARE = 0.1


def within_time(prepared: Prepared, study: Study) -> Prepared:
    """The same with epochs of full KD that fit into the time left.

    They are chosen once, before the first student trains: each training ends with the whole decay
    of its learning rate, and all students of the run train alike. A run with a budget that is to
    end however late it is (`--finish`) chooses them, too, and keeps its students later.
    """
    context = prepared.context
    best = ranked_trials(study, speedup=context.settings.speedup)[0]
    candidate = Winner.of(best, context.settings).candidate
    shape = prepared.meter.shape_of(candidate)
    settings = settings_of(context.settings, candidate.recipe)
    usual = share_planned(prepared.inputs.space, settings, prepared.meter.teacher_params)
    epochs = epochs_beside(shape, prepared.inputs.space.teacher, settings, usual)
    foresee(study, best, context.settings, epochs)
    chosen = share_of(context, candidate)
    if not (context.settings.budget or chosen.done()):
        return prepared
    share = chosen.get(lambda: _share(context))
    if share == context.settings.epochs_share:
        return prepared
    context = with_share(context, share)
    settings = context.settings
    within = f"to end within --budget {settings.budget} (a longer one allows more)"
    say(f"full KD: {share:.0%} of the recipe's epochs, {within}")
    full = cache(
        lambda recipe: replace(prepared.full(recipe), settings=settings_of(settings, recipe))
    )
    return replace(prepared, context=context, full=full)


def epochs_beside(
    student: AnyArchitecture, teacher: Architecture, settings: Settings, share: float
) -> float:
    """How many times as many epochs a student has as one with a share of the arithmetic.

    Where products cost little beside all else, a student of the speed that is asked is far smaller
    than a plan takes it to be, and smaller ones are trained longer.
    """
    stages = [stage for stage in settings.full_stages if not stage.is_general]
    own = sum(longer_for(student, teacher, stage, settings).epochs for stage in stages)
    usual = 1.0 if teacher.num_decoder_layers else share
    counted = sum(longer(stage, usual, settings).epochs for stage in stages)
    return own / counted if counted else 1.0


def _share(context: Context) -> float:
    """The share of the epochs that there is time for, where the run's own student is to train."""
    needed, left = context.time.expected(DISTIL), context.time.left
    free = left - context.time.expected("report")
    own = context.settings.epochs_share
    if left <= 0 and key_of(context.run.folder / "student") is not None:
        return own  # who has a student trained again asks for more than the budget, which is over
    fixed = context.time.expected(DISTIL, of=OF_THE_TEACHER)  # however few epochs there are
    if needed <= max(free, fixed):
        return own
    return round(own * max(LEAST_SHARE, (free - fixed) / (needed - fixed)), 3)
