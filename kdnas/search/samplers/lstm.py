"""A sampler whose proposals come from a recurrent reward predictor, episode by episode."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import intersection_search_space
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from kdnas.errors import KdnasError
from kdnas.search.samplers._candidates import CandidateSpace, Code, Codes
from kdnas.search.samplers._controller import Observation, make_contexts, train_controller

PROPOSAL_ATTR = "lstm:proposal"
EPSILON_ATTR = "lstm:epsilon"
CHOICE_ATTR = "lstm:choice"

_MIN_EPISODES = 3
_MIN_OBSERVATIONS = 2
_MAX_FAILURES = 2
_AUGMENTATION = 0.05
# Independent streams of random numbers under one seed.
_PICK_STREAM, _POOL_STREAM, _WEIGHTS_STREAM, _NETWORK_STREAM, _INDEPENDENT_STREAM = range(5)


@dataclass(frozen=True)
class EpsilonSchedule:
    """How many of an episode's trials are random, from all of the first to a floor at the end.

    Episodes shrink where the plan is short, so that three trials are enough for the controller to
    be asked. The arithmetic is in fractions: as floats, 0.7 of 10 truncates to 6.

    Args:
        n_trials: Planned total of trials.
        episode_size: Most trials in an episode.
        floor: Share of random trials in the last planned episode and in any after the plan.
    """

    n_trials: int
    episode_size: int
    floor: float

    @property
    def size(self) -> int:
        """Trials in an episode."""
        return min(self.episode_size, max(1, self.n_trials // _MIN_EPISODES))

    def epsilon(self, number: int) -> float:
        """Return the share of random trials in the episode of trial ``number``."""
        return float(self._share(number // self.size))

    def is_random(self, number: int) -> bool:
        """Return whether trial ``number`` is random: an episode's first ones are."""
        episode, position = divmod(number, self.size)
        return position < math.floor(self._share(episode) * self.size + Fraction(1, 2))

    def _share(self, episode: int) -> Fraction:
        last = math.ceil(self.n_trials / self.size) - 1
        # str: 0.1 means a tenth, not its nearest binary fraction.
        floor = Fraction(str(self.floor))
        if episode == 0:
            return Fraction(1)
        return floor + (1 - floor) * max(Fraction(0), 1 - Fraction(episode, last or 1))


def scalarise(
    values: npt.NDArray[np.float64],
    directions: Sequence[StudyDirection],
    rng: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """Turn the objective values of trials into rewards (higher is better).

    One objective keeps its values, negated where it is minimised. Several are scaled to [0, 1]
    each and joined by the augmented Chebyshev function under random weights, after ParEGO
    (Knowles, "ParEGO: a hybrid algorithm with on-line landscape approximation for expensive
    multiobjective optimization problems", IEEE TEC 2006). Fresh weights lead to another part of
    the Pareto front.

    Args:
        values: Shape (trials, objectives), finite.
        directions: One an objective.
        rng: Draws the weights, uniformly among those that sum to 1.

    Returns:
        Shape (trials,).
    """
    signs = np.array([1.0 if d == StudyDirection.MINIMIZE else -1.0 for d in directions])
    costs = values * signs
    if costs.shape[1] == 1:
        return np.asarray(-costs[:, 0])
    costs = costs - costs.min(axis=0)
    span = costs.max(axis=0)
    weighted = rng.dirichlet(np.ones(len(signs))) * costs / np.where(span > 0, span, 1.0)
    return np.asarray(-(weighted.max(axis=1) + _AUGMENTATION * weighted.sum(axis=1)))


class LSTMControllerSampler(BaseSampler):
    """Proposes the architecture whose reward an LSTM predicts to be the highest.

    Trials come in episodes. In each, a falling share of the trials is random; the others score
    every valid architecture that was not tried yet with a controller trained on all finished
    trials, see :mod:`kdnas.search.samplers._controller`.

    The sampler keeps nothing but a cache: a proposal depends on the seed, the trial's number and
    the trials in the study. A study that is resumed with a new sampler of the same seed therefore
    continues as if it had never stopped. Every proposal is marked in the trial's system
    attributes: ``lstm:proposal`` is ``random`` or ``controller``, ``lstm:epsilon`` the episode's
    share of random trials, ``lstm:choice`` the index of each parameter's choice, by which other
    workers see what a running trial is about.

    An architecture is tried once: not again while it waits, runs, or was completed or pruned, nor
    after it failed twice (one failure may be a killed process). When no other is left, the best
    prediction of all is proposed.

    In a study whose search space is not given (``study.optimize``), the space is the intersection
    of the finished trials' and the first trials are sampled parameter by parameter, where
    ``is_valid`` can't be asked. Numeric ranges are read as a grid of at most 64 points.

    Args:
        seed: Non-negative; None draws one.
        n_trials: Planned total of trials, over all resumptions. It sets how fast the share of
            random trials falls; the study may stop earlier or go on.
        episode_size: Most trials in an episode.
        epsilon_floor: Share of random trials in the last planned episode, between 0 and 1.
        is_valid: Says whether a full set of parameters is an architecture. Must be pure, as its
            answers are kept. None accepts all.
        learning_rate: RMSprop's step. With 1e-4, the predecessor's, 10 passes over 60 of 1,500
            points of an additive function give predictions whose rank correlation with the truth
            is 0.66; with the default 0.96.
        passes: Times that every finished trial is seen in a training. The controller is trained
            afresh for each of its proposals, 0.15 s at 100 trials and one thread.

    Raises:
        KdnasError: If an argument is out of its range.
    """

    def __init__(
        self,
        seed: int | None = None,
        *,
        n_trials: int = 100,
        episode_size: int = 10,
        epsilon_floor: float = 0.1,
        is_valid: Callable[[dict[str, Any]], bool] | None = None,
        learning_rate: float = 2e-3,
        passes: int = 10,
    ) -> None:
        for name, value in [
            ("n_trials", n_trials),
            ("episode_size", episode_size),
            ("passes", passes),
        ]:
            if value < 1:
                raise KdnasError(f"{name} must be at least 1, got {value}")
        if not 0 <= epsilon_floor <= 1:
            raise KdnasError(f"epsilon_floor must lie between 0 and 1, got {epsilon_floor}")
        if learning_rate <= 0:
            raise KdnasError(f"learning_rate must be positive, got {learning_rate}")
        if seed is not None and seed < 0:
            raise KdnasError(f"seed must not be negative, got {seed}")
        self._seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self._schedule = EpsilonSchedule(n_trials, episode_size, epsilon_floor)
        self._is_valid = is_valid
        self._learning_rate = learning_rate
        self._passes = passes
        self._cached_space: tuple[str, CandidateSpace | None] = ("", None)

    def reseed_rng(self) -> None:
        """Do nothing: each trial's draws have their own seed, in every thread and process."""

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return intersection_search_space(study.get_trials(deepcopy=False), include_pruned=True)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            self._mark(study, trial, "random", None)
            return {}
        space = self._space(search_space)
        others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        observations = self._observe(study, others, space, trial.number)
        best = max(observations, key=lambda seen: seen.reward, default=None)
        pool_rng = self._rng(trial.number, _POOL_STREAM)
        codes = space.candidates(pool_rng, best.code if best else None)
        untried = _exclude(codes, _find_taken(others, space))
        pool = untried if len(untried) else codes
        if len(observations) < _MIN_OBSERVATIONS or (
            len(untried) and self._schedule.is_random(trial.number)
        ):
            kind = "random"
            index = int(self._rng(trial.number, _PICK_STREAM).integers(len(pool)))
        else:
            kind = "controller"
            scores = self._predict(space, pool, observations, trial.number)
            index = _pick(scores, _count_undecided(others, trial.number))
        code = tuple(pool[index].tolist())
        self._mark(study, trial, kind, dict(zip(space.names, code, strict=True)))
        return space.decode(code)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        rng = self._rng(trial.number, _INDEPENDENT_STREAM, zlib.crc32(param_name.encode()))
        sampler = RandomSampler(seed=int(rng.integers(2**32)))
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng((self._seed, *key))

    def _space(self, search_space: Mapping[str, BaseDistribution]) -> CandidateSpace:
        # The latest one only: is_valid is asked for each architecture once, not once a trial.
        key = repr(sorted(search_space.items()))
        cached_key, space = self._cached_space
        if key != cached_key or space is None:
            space = CandidateSpace(search_space, self._is_valid)
            self._cached_space = (key, space)
        return space

    def _observe(
        self, study: Study, trials: Iterable[FrozenTrial], space: CandidateSpace, number: int
    ) -> list[Observation]:
        """Return the finished trials with finite values, by number, as the controller sees them."""
        found = [
            (trial.number, code, trial.values)
            for trial in sorted(trials, key=lambda t: t.number)
            if trial.state == TrialState.COMPLETE
            and np.isfinite(trial.values).all()
            and (code := space.encode(trial.params)) is not None
        ]
        if not found:
            return []
        weights_rng = self._rng(number // self._schedule.size, _WEIGHTS_STREAM)
        rewards = scalarise(np.array([row[2] for row in found]), study.directions, weights_rng)
        return [
            Observation(number, code, float(reward))
            for (number, code, _), reward in zip(found, rewards, strict=True)
        ]

    def _predict(
        self, space: CandidateSpace, pool: Codes, observations: list[Observation], number: int
    ) -> npt.NDArray[np.float32]:
        numbers = [*(seen.number for seen in observations), number]
        contexts = make_contexts(observations, numbers, self._schedule.size, space.blank)
        own = np.asarray([seen.code for seen in observations], dtype=np.int64)
        episode = number // self._schedule.size
        controller = train_controller(
            space.sizes,
            np.concatenate([contexts[:-1], own[:, None]], axis=1),
            np.array([seen.reward for seen in observations]),
            seed=int(self._rng(episode, _NETWORK_STREAM).integers(2**63)),
            learning_rate=self._learning_rate,
            passes=self._passes,
        )
        return controller.predict(contexts[-1], pool)

    def _mark(
        self, study: Study, trial: FrozenTrial, kind: str, choice: dict[str, int] | None
    ) -> None:
        storage, epsilon = study._storage, self._schedule.epsilon(trial.number)
        # The choice first: other workers are waiting to see it.
        if choice is not None:
            storage.set_trial_system_attr(trial._trial_id, CHOICE_ATTR, choice)
        storage.set_trial_system_attr(trial._trial_id, PROPOSAL_ATTR, kind)
        storage.set_trial_system_attr(trial._trial_id, EPSILON_ATTR, epsilon)


def _find_taken(trials: Iterable[FrozenTrial], space: CandidateSpace) -> set[Code]:
    """Return the architectures that need no further trial."""
    taken: set[Code] = set()
    failures: Counter[Code] = Counter()
    for trial in trials:
        code = _code_of(trial, space)
        if code is None:
            continue
        if trial.state == TrialState.FAIL:
            failures[code] += 1
        else:
            taken.add(code)
    return taken | {code for code, count in failures.items() if count >= _MAX_FAILURES}


def _code_of(trial: FrozenTrial, space: CandidateSpace) -> Code | None:
    """Return what a trial evaluates or is about to, or None where that isn't in this space.

    A trial with further parameters is no architecture of this space: the same choices with other
    values of those are worth another trial.
    """
    if not trial.params.keys() <= set(space.names):
        return None
    if trial.state.is_finished():
        return space.encode(trial.params)
    planned = space.decode_choice(trial.system_attrs.get(CHOICE_ATTR, {}))
    return space.encode({**planned, **trial.system_attrs.get("fixed_params", {}), **trial.params})


def _pick(scores: npt.NDArray[np.float32], ahead: int) -> int:
    """Return the position of the highest score, leaving the first ``ahead`` to other workers.

    Workers that start at one moment see the same history and would all choose the same.
    """
    order = np.argsort(-scores, kind="stable")
    return int(order[min(ahead, len(order) - 1)])


def _count_undecided(trials: Iterable[FrozenTrial], number: int) -> int:
    """Return how many trials started before trial ``number`` and have not chosen yet."""
    return sum(
        trial.state == TrialState.RUNNING
        and trial.number < number
        and not trial.params
        and CHOICE_ATTR not in trial.system_attrs
        and "fixed_params" not in trial.system_attrs
        for trial in trials
    )


def _exclude(codes: Codes, taken: set[Code]) -> Codes:
    mask = [tuple(row) not in taken for row in codes.tolist()]
    kept: Codes = codes[np.asarray(mask, dtype=bool)]
    return kept
