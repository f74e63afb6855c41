"""What a study tries next of what waits in its queue."""

from __future__ import annotations

from collections.abc import Mapping

from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from kdnas.study.attributes import CONTINUES


def ask(study: Study, distributions: Mapping[str, BaseDistribution]) -> Trial:
    """The study's next trial, with its parameters; one that goes on from its rung comes first.

    Optuna hands out what is queued first in, first out: the best of a rung would wait for all that
    a search begins with, and time may end before they are reached.

    Raises:
        ValueError: The parameters of a queued trial are not in the distributions.
    """
    for queued in study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        if CONTINUES in queued.user_attrs and _take(study, queued):
            study._thread_local.cached_all_trials = None  # as Study.ask does, for its sampler
            trial = Trial(study, queued._trial_id)
            for name, distribution in distributions.items():
                trial._suggest(name, distribution)
            return trial
    return study.ask(dict(distributions))


def _take(study: Study, queued: FrozenTrial) -> bool:
    """Takes a trial from the queue; False where another process was quicker."""
    try:
        return study._storage.set_trial_state_values(queued._trial_id, state=TrialState.RUNNING)
    except UpdateFinishedTrialError:
        return False
