"""Optuna's samplers over the indices of ordered choices instead of a set of labels.

A categorical parameter tells a model nothing of 192 lying between 144 and 240: TPE and GP take all
choices for equally far apart, and QMC draws them at random. Here they see a copy of the study in
which each list of numbers is an integer range over its indices. The copy also has what Optuna's
samplers do not read from the study: values at a rung.
"""

from __future__ import annotations

from typing import Any, TypeGuard

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from kdnas.study.samplers._candidates import CandidateSpace, amounts_of, are_numbers
from kdnas.study.samplers._history import observe, settle

Space = dict[str, BaseDistribution]


class OrdinalSampler(BaseSampler):
    """Shows a study to another sampler with choice indices as ordered integers.

    Args:
        inner: Proposes.
        sees_trials: Show past trials. A quasi-Monte Carlo sampler needs none; it counts its points
            in the study itself, and every list of choices is a coordinate of it.
    """

    def __init__(self, inner: BaseSampler, *, sees_trials: bool = True) -> None:
        self._inner = inner
        self._sees_trials = sees_trials

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> Space:
        """None of its own; the caller gives the space."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Space
    ) -> dict[str, Any]:
        """One point of the space."""
        if not search_space:
            return {}
        if not self._sees_trials:
            indices = {name: _indices(d) for name, d in search_space.items()}
            point = self._inner.sample_relative(study, trial, indices)
            return {name: _ordered(name, d)[point[name]] for name, d in search_space.items()}
        ordinal = {n: _indices(d) if _is_ordered(d) else d for n, d in search_space.items()}
        view = self._view(study, trial, search_space, ordinal)
        # Samplers leave notes on the trial, so that it must exist in the view as well.
        shown = view._storage.get_trial(view._storage.create_new_trial(view._study_id))
        point = self._inner.sample_relative(view, shown, ordinal)
        for name, distribution in ordinal.items():
            if name not in point:
                point[name] = self._inner.sample_independent(view, shown, name, distribution)
        return {
            name: _ordered(name, d)[point[name]] if _is_ordered(d) else point[name]
            for name, d in search_space.items()
        }

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Passed on: a parameter outside the space."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def _view(self, study: Study, trial: FrozenTrial, space: Space, ordinal: Space) -> Study:
        view = optuna.create_study(
            storage=InMemoryStorage(), directions=study.directions, sampler=self._inner
        )
        others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        candidates = CandidateSpace(space)
        observations = {seen.number: seen for seen in settle(observe(others, candidates))}
        for other in others:
            if candidates.encode(other.params) is None:
                continue
            values, state = other.values, other.state
            seen = observations.get(other.number)
            if state == TrialState.PRUNED and seen is not None and seen.values is not None:
                values, state = list(seen.values), TrialState.COMPLETE
            elif state == TrialState.PRUNED and seen is None:
                continue  # it went on, or was never scored; TPE would take it for a bad one
            params = {
                name: _ordered(name, d).index(value) if _is_ordered(d) else value
                for name, d in space.items()
                for value in [other.params[name]]
            }
            view.add_trial(
                create_trial(
                    state=state,
                    values=values if state == TrialState.COMPLETE else None,
                    params=params,
                    distributions=ordinal,
                    constraints=other.constraints,
                )
            )
        return view


def _indices(distribution: BaseDistribution) -> BaseDistribution:
    assert isinstance(distribution, CategoricalDistribution)
    return IntDistribution(0, len(distribution.choices) - 1)


def _ordered(name: str, distribution: BaseDistribution) -> list[Any]:
    """The choices by what they amount to, or as they are listed where they are no numbers."""
    assert isinstance(distribution, CategoricalDistribution)
    choices = list(distribution.choices)
    if not are_numbers(choices):
        return choices
    amounts = amounts_of(name, choices)
    return [choice for _, choice in sorted(zip(amounts, choices, strict=True))]


def _is_ordered(distribution: BaseDistribution) -> TypeGuard[CategoricalDistribution]:
    return isinstance(distribution, CategoricalDistribution) and are_numbers(distribution.choices)
