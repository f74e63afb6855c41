"""Spaces, an objective and a loop for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial

from kdnas.study.samplers import SurrogateSampler
from kdnas.study.samplers._candidates import CandidateSpace, Codes, Floats

Space = dict[str, BaseDistribution]

SMALL: Space = {
    "layers": CategoricalDistribution([2, 3, 4, 6]),
    "hidden": CategoricalDistribution([128, 256, 312]),
    "heads": IntDistribution(2, 8, step=2),
}
LARGE: Space = {
    "layers": CategoricalDistribution([2, 3, 4, 5, 6, 8]),
    "heads": CategoricalDistribution([2, 4, 6, 8, 12]),
    "hidden": CategoricalDistribution([128, 192, 256, 312, 384]),
    "intermediate": CategoricalDistribution([256, 512, 768, 1024, 1536]),
    "act": CategoricalDistribution(["gelu", "relu"]),
}


class SpacedSampler(SurrogateSampler):
    """Knows the whole space from the first trial on, as kdnas does."""

    def __init__(self, space: Space, seed: int = 0, **options: Any) -> None:
        super().__init__(seed, **options)
        self.space = space

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> Space:
        return self.space


def two_functions(count: int) -> tuple[CandidateSpace, Codes, Floats, Codes]:
    """An additive and a smooth function of the large space, and which `count` points are seen.

    Returns:
        The space, its candidates, both functions of them (standardised), and the seen rows.
    """
    rng = np.random.default_rng(5)
    space = CandidateSpace(LARGE)
    codes = space.candidates(rng, None)
    effects = [rng.normal(size=size) for size in space.sizes]
    additive = np.sum([effect[codes[:, i]] for i, effect in enumerate(effects)], axis=0)
    values = np.stack([level[codes[:, i]] for i, level in enumerate(space.levels)], axis=1)
    smooth = np.sin(values @ rng.normal(size=5)) + np.cos(values @ rng.normal(size=5))
    truth = np.stack([additive, smooth], axis=1)
    truth = (truth - truth.mean(axis=0)) / truth.std(axis=0)
    return space, codes, truth, rng.choice(len(codes), count, replace=False)


def grow(params: dict[str, Any]) -> float:
    """An objective that rises with every parameter of the small space."""
    return params["layers"] / 6 + params["hidden"] / 312 + params["heads"] / 8


def widen(params: dict[str, Any]) -> float:
    """The like of it for the large space, from 0.8 to 4."""
    sizes = params["hidden"] / 384 + params["intermediate"] / 1536
    return float(params["layers"] / 8 + params["heads"] / 12 + sizes)


def run(
    study: Study, n_trials: int, space: Space, objective: Callable[..., Any] = grow
) -> list[dict[str, Any]]:
    for _ in range(n_trials):
        trial = study.ask(space)
        study.tell(trial, objective(trial.params))
    return [trial.params for trial in study.trials]


def kinds(study: Study) -> str:
    return "".join(trial.system_attrs.get("lstm:proposal", "-")[0] for trial in study.trials)
