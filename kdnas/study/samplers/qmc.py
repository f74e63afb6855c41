"""Optuna's quasi-Monte Carlo sampler for choice lists.

Optuna draws categorical parameters at random even there; here each parameter's index in its list of
choices is a coordinate of the Sobol sequence.
"""

from __future__ import annotations

import warnings
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, QMCSampler, RandomSampler
from optuna.search_space import intersection_search_space
from optuna.study import Study
from optuna.trial import FrozenTrial


class QMCIndexSampler(BaseSampler):
    """A scrambled Sobol sequence over choice lists.

    Args:
        seed: Of the scrambling; the same for all trials of a study.
    """

    def __init__(self, seed: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            self._qmc = QMCSampler(scramble=True, seed=seed)
        self._random = RandomSampler(seed=seed)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The categorical parameters that all finished trials share."""
        shared = intersection_search_space(study.get_trials(deepcopy=False))
        return {k: v for k, v in shared.items() if isinstance(v, CategoricalDistribution)}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The next point of the sequence."""
        choices = {
            name: d.choices
            for name, d in search_space.items()
            if isinstance(d, CategoricalDistribution)
        }
        indices: dict[str, BaseDistribution] = {
            name: IntDistribution(0, len(values) - 1) for name, values in choices.items()
        }
        if not indices:
            return {}
        point = self._qmc.sample_relative(study, trial, indices)
        return {name: values[point[name]] for name, values in choices.items()}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """At random, where there is no shared space yet."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)
