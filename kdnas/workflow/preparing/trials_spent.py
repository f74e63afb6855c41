"""How many trials a run has paid for, and how many are left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from kdnas.config.options.base import MOST_TRIALS
from kdnas.errors import KdnasError
from kdnas.files.artifact import Artifact
from kdnas.runs.context import Context
from kdnas.space import SearchSpace
from kdnas.study.optimize import expected_trials
from kdnas.study.pruner import SuccessiveHalvingPruner
from kdnas.study.samplers.distinct import given_up
from kdnas.study.storage import storage_url
from kdnas.study.study import evaluated, infeasible, load_control, load_run_study
from kdnas.study.whole import CONTROL

ENDED = tuple(state for state in TrialState if state.is_finished())


def trials_left(
    context: Context, *, control: bool = False, space: SearchSpace | None = None
) -> float:
    """Whole trials that the search, or random search beside it, has still to end.

    Those that run or wait are among them: their process may be gone, and they are tried again. Of a
    small space there are no more than it has candidates for. Where all is spent and candidates wait
    on rungs, one is still to be trained to the end.
    """
    settings = context.settings
    off = control and (settings.random_control == "off" or settings.sampler == "random")
    if off or not settings.searches or search_end(context, control=control).done():
        return 0.0
    pruner, trials = _paid_for(context, control=control, ended=True)
    left = settings.trials - pruner.spent(trials) / pruner.full_cost
    if space is not None:
        left = min(left, _candidates_left(context, space, control=control))
    return max(left, pruner.owed(trials) / pruner.full_cost)


def _candidates_left(context: Context, space: SearchSpace, *, control: bool) -> float:
    """Candidates that were not trained to the end, found to break a limit, or given up."""
    study, names = _own_or_control(context, control=control), set(space.distributions)
    if study is None:
        return float(len(space.candidates))
    settled = [*evaluated(study), *infeasible(study)]
    tried = {space.candidate(t.params) for t in settled if names <= t.params.keys()}
    lost = given_up(study.get_trials(deepcopy=False), space)
    return float(len(set(space.candidates) - tried - lost))


def search_end(context: Context, *, control: bool = False) -> Artifact[Any]:
    """That a search with a budget has ended, its own trials or those of random search."""
    settings = context.settings
    key = {"budget": settings.budget, "trials": settings.trials}
    return context.run.step(f"{'random-search' if control else 'search'}-ended", key)


def trials_spent(context: Context, *, control: bool = False, ended: bool = False) -> float:
    """What a study has spent, in whole trials, or what has `ended` of it; 0 where there is none."""
    if not context.settings.searches:
        return 0
    pruner, trials = _paid_for(context, control=control, ended=ended)
    return pruner.spent(trials) / pruner.full_cost


def _paid_for(
    context: Context, *, control: bool, ended: bool
) -> tuple[SuccessiveHalvingPruner, list[FrozenTrial]]:
    """The rungs of a study and its trials, or those that have `ended`; none where it is not."""
    found, settings = _own_or_control(context, control=control), context.settings
    pruner = SuccessiveHalvingPruner(1 if control else settings.rungs, settings.reduction)
    states = ENDED if ended else None
    return pruner, found.get_trials(deepcopy=False, states=states) if found else []


def with_expected_trials(context: Context) -> Context:
    """The same for a worker's plan: with the trials that the search's time is expected to pay for.

    0 where its first process has not worked out when it ends.
    """
    settings, study = context.settings, study_of(context)
    if settings.budget is None:
        return context
    trials = 0 if study is None else expected_trials(study, settings.trials)
    trials = trials if trials < MOST_TRIALS else 0
    return replace(context, settings=settings.model_copy(update={"trials": trials}))


def _own_or_control(context: Context, *, control: bool) -> Study | None:
    """The run's study, or that of random search beside it; None where there is none."""
    settings, study = context.settings, study_of(context)
    if study is None or not control:
        return study
    url = storage_url(settings.storage, context.run.folder)
    return load_control(url, settings.study, CONTROL)


def study_of(context: Context) -> Study | None:
    """The run's study; None where there is none, or it cannot be read."""
    settings, folder = context.settings, context.run.folder
    try:
        return load_run_study(storage_url(settings.storage, folder), settings.study, folder)
    except KdnasError:
        return None
