"""Any Optuna sampler over a finite space, made to propose valid, untried architectures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from kdnas.space import Architecture, SearchSpace
from kdnas.study.samplers._episodes import EpisodeSampler
from kdnas.study.samplers._turns import Turns
from kdnas.study.samplers.names import FIXED_ATTR, GIVEN_UP
from kdnas.study.samplers.ordinal import OrdinalSampler
from kdnas.study.samplers.qmc import QMCIndexSampler

ATTEMPTS = 30
TAKEN = (TrialState.COMPLETE, TrialState.RUNNING, TrialState.PRUNED, TrialState.WAITING)

# What failed once may be tried again, what failed twice not.
MOST_FAILURES = 2

WHOLE = (EpisodeSampler, QMCIndexSampler, OrdinalSampler)

MakeSampler = Callable[[int], BaseSampler]


class DistinctSampler(BaseSampler):
    """Asks another sampler until it proposes a valid architecture that no trial has had.

    A sampler that keeps repeating itself is overruled by a random untried architecture; only when
    none is left does a repetition go through. The inner sampler is made afresh for each trial with
    a seed from the run's seed and the trial's turn, so that a resumed study draws what an
    uninterrupted one would have drawn (NSGA-II after an interrupted trial may not), and workers do
    not draw the same.

    Args:
        make: Makes the inner sampler from a seed.
        space: The students to choose from.
        seed: The run's seed.
    """

    def __init__(self, make: MakeSampler, space: SearchSpace, seed: int) -> None:
        self._make = make
        self._space = space
        self._seed = seed
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
        taken = taken_architectures(study, but=trial.number)
        last: dict[str, Any] = {}
        for _ in range(ATTEMPTS):
            proposal = self._propose(study, trial)
            if self._space.is_valid(proposal) and Architecture.from_params(proposal) not in taken:
                return proposal
            if proposal == last:  # it may say so for ever, and each time may cost a training
                break
            last = proposal
        return self._any_of(taken, self._turn(study, trial))

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
        """Seeds the inner sampler for this trial."""
        turn = self._turn(study, trial)
        seed = np.random.SeedSequence((self._seed, turn)).generate_state(1)[0]
        self._inner = self._make(int(seed))
        self._inner.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        """Passed on."""
        self._inner.after_trial(study, trial, state, values)

    def _propose(self, study: Study, trial: FrozenTrial) -> dict[str, Any]:
        inner = self._inner
        space = self._space.distributions
        # The space is fixed, so samplers that model it as a whole need not infer it from trials;
        # those that draw each parameter alone infer none.
        relative = inner.infer_relative_search_space(study, trial)
        whole = space if relative or isinstance(inner, WHOLE) else {}
        params = dict(inner.sample_relative(study, trial, whole))
        for name, distribution in space.items():
            if name not in params:
                params[name] = inner.sample_independent(study, trial, name, distribution)
        return params

    def _turn(self, study: Study, trial: FrozenTrial) -> int:
        return Turns(study.get_trials(deepcopy=False)).of(trial.number)

    def _any_of(self, taken: set[Architecture], turn: int) -> dict[str, Any]:
        """A random untried architecture, or any at all where none is left."""
        every = self._space.architectures
        left = [a for a in every if a not in taken] or every
        rng = np.random.default_rng((self._seed, turn))
        return dict(left[rng.integers(len(left))].params)


def taken_architectures(study: Study, but: int | None = None) -> set[Architecture]:
    """Architectures of trials that are finished, under way, enqueued or given up for good.

    Args:
        study: Whose trials.
        but: Number of a trial that does not count.
    """
    trials = [t for t in study.get_trials(deepcopy=False) if t.number != but]
    failures = Counter(str(t.params) for t in trials if _failed(t))
    params = [
        {**t.system_attrs.get(FIXED_ATTR, {}), **t.params}
        for t in trials
        if _takes(t) or failures[str(t.params)] >= MOST_FAILURES
    ]
    names = set(Architecture.__dataclass_fields__)
    return {Architecture.from_params(p) for p in params if names <= p.keys()}


def _failed(trial: FrozenTrial) -> bool:
    """Whether a trial's own work failed; one that was interrupted tells no error."""
    return trial.state == TrialState.FAIL and "error" in trial.user_attrs


def _takes(trial: FrozenTrial) -> bool:
    """Whether nobody needs to try a trial's architecture again."""
    return trial.state in TAKEN or GIVEN_UP in trial.user_attrs
