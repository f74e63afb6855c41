"""Any Optuna sampler over a finite space, made to propose valid, untried architectures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from kdnas.runtime.process import process_name
from kdnas.space import Candidate, SearchSpace
from kdnas.study.attributes import ASKED, ERROR, FIXED_ATTR, GIVEN_UP
from kdnas.study.samplers._history import Turns
from kdnas.study.samplers.ordinal import OrdinalSampler
from kdnas.study.samplers.surrogate import SurrogateSampler

ATTEMPTS = 30
# What failed once may be tried again, what failed twice not.
MAX_FAILURES = 2
# These propose a whole architecture from the first trial on, though they infer no space.
WHOLE = (SurrogateSampler, OrdinalSampler)


class DistinctSampler(BaseSampler):
    """Asks another sampler until it proposes a valid architecture that no trial has had.

    A sampler that keeps repeating itself is overruled by a random untried architecture; only when
    none is left does what failed once go through again, and then a repetition. The inner sampler is
    made afresh for each trial with a seed from the run's seed and the trial's turn, so that a
    resumed study draws what an uninterrupted one would have drawn (NSGA-II after an interrupted
    trial may not), and workers do not draw the same.

    Args:
        make: Makes the inner sampler from a seed.
        space: The students to choose from.
        seed: The run's seed.
    """

    def __init__(self, make: Callable[[int], BaseSampler], space: SearchSpace, seed: int) -> None:
        self._make, self._space, self._seed = make, space, seed
        self._inner = make(seed)

    def reseed_rng(self) -> None:
        """Nothing to do: seeds come from the trials."""

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The whole space: architectures are proposed as a whole."""
        return self._space.distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """One architecture."""
        taken = taken_candidates(study, self._space, but=trial.number)
        avoided = taken | failed_candidates(study, self._space)
        last: dict[str, Any] = {}
        for _ in range(ATTEMPTS):
            proposal = self._space.nearest(self._propose(study, trial))
            if self._space.is_valid(proposal) and self._space.candidate(proposal) not in avoided:
                return proposal
            if proposal == last:  # it may say so for ever, and each time may cost a training
                break
            last = proposal
        every = self._space.candidates
        untried = [c for c in every if c not in avoided]
        left = untried or [c for c in every if c not in taken] or every
        rng = np.random.default_rng((self._seed, _turn(study, trial)))
        return self._space.params(left[rng.integers(len(left))])

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A parameter outside the space."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Signs the trial and seeds the inner sampler for it."""
        study._storage.set_trial_user_attr(trial._trial_id, ASKED, process_name())
        seed = np.random.SeedSequence((self._seed, _turn(study, trial))).generate_state(1)[0]
        self._inner = self._make(int(seed))
        self._inner.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        """Passed on."""
        self._inner.after_trial(study, trial, state, values)

    def _propose(self, study: Study, trial: FrozenTrial) -> dict[str, Any]:
        inner, space = self._inner, self._space.distributions
        # The space is fixed, so samplers that model it as a whole need not infer it from trials;
        # those that draw each parameter alone infer none.
        relative = inner.infer_relative_search_space(study, trial)
        whole = space if relative or isinstance(inner, WHOLE) else {}
        params = dict(inner.sample_relative(study, trial, whole))
        for name, distribution in space.items():
            if name not in params:
                params[name] = inner.sample_independent(study, trial, name, distribution)
        return params


def _turn(study: Study, trial: FrozenTrial) -> int:
    return Turns(study.get_trials(deepcopy=False)).of(trial.number)


def taken_candidates(study: Study, space: SearchSpace, but: int | None = None) -> set[Candidate]:
    """Candidates of trials that are finished, running, enqueued or given up for good.

    Trial `but` does not count, nor does a failure that has no error: it was interrupted.
    """
    trials = [t for t in study.get_trials(deepcopy=False) if t.number != but]
    return _candidates(space, (t for t in trials if t.state != TrialState.FAIL)) | given_up(
        trials, space
    )


def given_up(trials: Sequence[FrozenTrial], space: SearchSpace) -> set[Candidate]:
    """Candidates that are not tried again: they failed twice, or were given up for good."""
    failures = Counter(str(t.params) for t in trials if _has_error(t))
    failed = (t for t in trials if t.state == TrialState.FAIL)
    lost = (
        t for t in failed if GIVEN_UP in t.user_attrs or failures[str(t.params)] >= MAX_FAILURES
    )
    return _candidates(space, lost)


def _candidates(space: SearchSpace, trials: Iterable[FrozenTrial]) -> set[Candidate]:
    names = set(space.distributions)
    params = [{**t.system_attrs.get(FIXED_ATTR, {}), **t.params} for t in trials]
    return {space.candidate(p) for p in params if names <= p.keys()}


def failed_candidates(study: Study, space: SearchSpace) -> set[Candidate]:
    """Candidates that failed with an error, once at least: what else is left is tried first."""
    failed = [t.params for t in study.get_trials(deepcopy=False) if _has_error(t)]
    return {space.candidate(p) for p in failed if set(space.distributions) <= p.keys()}


def _has_error(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL and ERROR in trial.user_attrs
