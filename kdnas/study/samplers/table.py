"""The table of samplers: Optuna's own, and ours by its models of the search space."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler

from kdnas.config import nearest
from kdnas.errors import KdnasError
from kdnas.space import SearchSpace
from kdnas.study.samplers._controller import LSTMs
from kdnas.study.samplers._predictor import Predictor
from kdnas.study.samplers._processes import GaussianProcesses
from kdnas.study.samplers.distinct import DistinctSampler
from kdnas.study.samplers.ordinal import OrdinalSampler
from kdnas.study.samplers.surrogate import SurrogateSampler

Make = Callable[[int, int, SearchSpace], BaseSampler]


def _startup(trials: int) -> int:
    # Optuna's default of 10 random trials would be half of a short search; with choices in their
    # order, five are enough to begin with.
    return min(5, max(1, trials // 3))


def _population(trials: int) -> int:
    return min(50, max(2, trials // 3))


def _tpe(seed: int, trials: int, space: SearchSpace) -> BaseSampler:
    return OrdinalSampler(
        optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=_startup(trials), multivariate=True, constant_liar=True
        )
    )


def _by_surrogate(
    predictor: Predictor, seed: int, trials: int, space: SearchSpace
) -> SurrogateSampler:
    return SurrogateSampler(seed, n_trials=trials, is_valid=space.is_valid, predictor=predictor)


def _qmc(seed: int, trials: int, space: SearchSpace) -> BaseSampler:
    with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
        sobol = optuna.samplers.QMCSampler(scramble=True, seed=seed)
    return OrdinalSampler(sobol, sees_trials=False)


SAMPLERS: dict[str, Make] = {
    "gp": partial(_by_surrogate, GaussianProcesses()),
    "lstm": partial(_by_surrogate, LSTMs()),
    "nsga2": lambda seed, trials, space: optuna.samplers.NSGAIISampler(
        seed=seed, population_size=_population(trials)
    ),
    "nsga3": lambda seed, trials, space: optuna.samplers.NSGAIIISampler(
        seed=seed, population_size=_population(trials)
    ),
    "qmc": _qmc,
    "random": lambda seed, trials, space: optuna.samplers.RandomSampler(seed=seed),
    "tpe": _tpe,
}

# These keep a sequence of their own, by trial number or in the study, and are made once; the others
# are made afresh for each trial, with a seed of its own.
SELF_SEEDED = {"gp", "lstm", "qmc"}
# These learn from the lessons of earlier studies.
LEARNING = {"gp", "lstm"}


def make_sampler(name: str, space: SearchSpace, seed: int, trials: int) -> BaseSampler:
    """A sampler by name that proposes each valid candidate once.

    Samplers with phases spread these over the planned total of `trials`.

    Raises:
        KdnasError: The name is unknown.
    """
    if name not in SAMPLERS:
        raise KdnasError(f"unknown --sampler {name!r}{nearest(name, SAMPLERS)}")
    make = SAMPLERS[name]
    if name in SELF_SEEDED:
        sampler = make(seed, trials, space)
        return DistinctSampler(lambda _: sampler, space, seed)
    return DistinctSampler(lambda drawn: make(drawn, trials, space), space, seed)
