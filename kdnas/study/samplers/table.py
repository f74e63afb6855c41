"""The table of samplers: Optuna's own and the LSTM controller."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler

from kdnas.config import nearest
from kdnas.errors import KdnasError
from kdnas.space import SearchSpace
from kdnas.study.samplers.distinct import DistinctSampler
from kdnas.study.samplers.lstm import LSTMControllerSampler
from kdnas.study.samplers.ordinal import OrdinalSampler

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


def _gp(seed: int, trials: int, space: SearchSpace) -> BaseSampler:
    return OrdinalSampler(
        optuna.samplers.GPSampler(
            seed=seed, n_startup_trials=_startup(trials), deterministic_objective=False
        ),
        learns_from_infeasible=True,
    )


def _qmc(seed: int, trials: int, space: SearchSpace) -> BaseSampler:
    with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
        sobol = optuna.samplers.QMCSampler(scramble=True, seed=seed)
    return OrdinalSampler(sobol, sees_trials=False)


SAMPLERS: dict[str, Make] = {
    "gp": _gp,
    "lstm": lambda seed, trials, space: LSTMControllerSampler(
        seed, n_trials=trials, is_valid=space.is_valid
    ),
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
SELF_SEEDED = {"lstm", "qmc"}
# These learn from the lessons of earlier studies.
LEARNING = {"lstm"}


def make_sampler(name: str, space: SearchSpace, seed: int, trials: int) -> BaseSampler:
    """A sampler by name that proposes each valid candidate once.

    Samplers with phases spread these over the planned total of `trials`.

    Raises:
        KdnasError: The name is unknown.
    """
    if name not in SAMPLERS:
        known = ", ".join(sorted(SAMPLERS))
        raise KdnasError(f"unknown --sampler {name!r}{nearest(name, SAMPLERS)}; known: {known}")
    make = SAMPLERS[name]
    if name in SELF_SEEDED:
        sampler = make(seed, trials, space)
        return DistinctSampler(lambda _: sampler, space, seed)
    return DistinctSampler(lambda drawn: make(drawn, trials, space), space, seed)
