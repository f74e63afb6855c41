"""What controllers have in common: episodes, marks on trials, and never the same trial twice."""

from __future__ import annotations

import math
import zlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import intersection_search_space
from optuna.study import Study
from optuna.trial import FrozenTrial

from kdnas.errors import KdnasError
from kdnas.study.attributes import CHOICE_ATTR, EPSILON_ATTR, PROPOSAL_ATTR
from kdnas.study.samplers._candidates import CandidateSpace, Code, Codes
from kdnas.study.samplers._history import Observation, Turns, count_undecided, find_taken, observe
from kdnas.study.samplers._rewards import scalarise

Floats = npt.NDArray[np.float64]

# Independent streams of random numbers under one seed.
PICK_STREAM, POOL_STREAM, WEIGHTS_STREAM, NETWORK_STREAM, INDEPENDENT_STREAM = range(5)

_MIN_EPISODES = 3


@dataclass(frozen=True)
class EpsilonSchedule:
    """How many of an episode's trials are random, from all of the first to a floor.

    Episodes shrink where the plan is short, so that three trials are enough for the controller to
    be asked. The arithmetic is in fractions: as floats, 0.7 of 10 truncates to 6. What an episode
    is too short for is carried to the next: a twentieth of episodes of five is one trial in four.

    Args:
        n_trials: Planned total of trials.
        episode_size: Most trials in an episode.
        floor: Share of random trials once the share has fallen, and in any trial after the plan.
        fall: Share of the plan within which epsilon falls from 1 to the floor, evenly from episode
            to episode; one episode at least, so that the second may be at the floor already.
    """

    n_trials: int
    episode_size: int
    floor: float
    fall: float = 1.0

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
        return position < self._randoms(episode)

    def _randoms(self, episode: int) -> int:
        """Random trials of an episode."""
        before = self._shares_before(episode)
        until = before + self._share(episode)
        half = Fraction(1, 2)
        return math.floor(until * self.size + half) - math.floor(before * self.size + half)

    def _shares_before(self, episode: int) -> Fraction:
        """The sum of the shares of all episodes before one."""
        falling = min(episode, self._last)
        shares = sum((self._share(e) for e in range(falling)), Fraction(0))
        return shares + (episode - falling) * Fraction(str(self.floor))

    @property
    def _last(self) -> int:
        """The first episode at the floor."""
        fall = Fraction(str(self.fall))
        return max(1, math.floor(fall * (math.ceil(self.n_trials / self.size) - 1)))

    def _share(self, episode: int) -> Fraction:
        if episode == 0:
            return Fraction(1)
        # str: 0.1 means a tenth, not its nearest binary fraction.
        floor = Fraction(str(self.floor))
        return floor + (1 - floor) * max(Fraction(0), 1 - Fraction(episode, self._last))


class EpisodeSampler(BaseSampler):
    """Proposes at random for a share of each episode, and what it scores highest for the rest.

    It keeps nothing but caches: a proposal depends on the seed, the trial's turn and the trials
    in the study. A study that is resumed with a new sampler of the same seed therefore continues
    as if it had never stopped. Every proposal is marked in the trial's system attributes, see
    :mod:`kdnas.study.attributes`.

    An architecture is tried once: not again while it waits, runs, or was completed or pruned, nor
    after it failed twice (one failure may be a killed process). When no other is left, the best
    score of all is proposed.

    Args:
        seed: Non-negative; None draws one.
        schedule: Says which trials are random.
        is_valid: Says whether a full set of parameters is an architecture. Must be pure, as its
            answers are kept. None accepts all.

    Raises:
        KdnasError: If an argument is out of its range.
    """

    def __init__(
        self,
        seed: int | None,
        schedule: EpsilonSchedule,
        is_valid: Callable[[dict[str, Any]], bool] | None,
    ) -> None:
        for name in ("n_trials", "episode_size"):
            refuse_below(1, name, getattr(schedule, name))
        if not 0 <= schedule.floor <= 1:
            raise KdnasError(f"epsilon_floor must lie between 0 and 1, got {schedule.floor}")
        if seed is not None and seed < 0:
            raise KdnasError(f"seed must not be negative, got {seed}")
        self._seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self._schedule = schedule
        self._is_valid = is_valid
        self._cached_space: tuple[str, CandidateSpace | None] = ("", None)

    @abstractmethod
    def _score(
        self,
        study: Study,
        observations: Sequence[Observation],
        space: CandidateSpace,
        pool: Codes,
        number: int,
    ) -> Floats | None:
        """Return how good each architecture of the pool looks; None if there is too little data."""

    def reseed_rng(self) -> None:
        """Do nothing: each trial's draws have their own seed, in every thread and process."""

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The parameters that all finished trials share."""
        return intersection_search_space(study.get_trials(deepcopy=False), include_pruned=True)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """One architecture."""
        if not search_space:
            self._mark(study, trial, "random", None)
            return {}
        space = self._space(search_space)
        trials = study.get_trials(deepcopy=False)
        turns = Turns(trials)
        turn = turns.of(trial.number)
        others = [other for other in trials if other.number != trial.number]
        observations = [
            replace(seen, number=turns.of(seen.number)) for seen in observe(others, space)
        ]
        best = self._best(study, observations, turn)
        codes = space.candidates(self._rng(turn, POOL_STREAM), best)
        untried = _exclude(codes, find_taken(others, space))
        pool = untried if len(untried) else codes
        scores = None
        if not (len(untried) and self._schedule.is_random(turn)):
            scores = self._score(study, observations, space, pool, turn)
        ahead = count_undecided(others, trial.number)
        choose = _Chooser(pool, scores, self._rng(turn, PICK_STREAM), ahead)
        return space.decode(self._agree(study, trial, space, choose))

    def _agree(
        self, study: Study, trial: FrozenTrial, space: CandidateSpace, choose: _Chooser
    ) -> Code:
        """Choose, sign, and look whether another worker signed the same meanwhile; then again.

        Of two that choose the same at one moment each sees the other, as both sign first.
        """
        kind = "random" if choose.scores is None else "controller"
        while True:
            code = choose()
            self._mark(study, trial, kind, dict(zip(space.names, code, strict=True)))
            trials = study.get_trials(deepcopy=False)
            taken = find_taken((t for t in trials if t.number != trial.number), space)
            if code not in taken or not choose.leave(taken):
                return code

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """At random, where there is no shared space yet."""
        rng = self._rng(trial.number, INDEPENDENT_STREAM, zlib.crc32(param_name.encode()))
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

    def _best(self, study: Study, observations: Sequence[Observation], number: int) -> Code | None:
        """Return the best architecture so far, for several objectives by the trial's weights."""
        trained = [seen for seen in observations if seen.values is not None]
        if not trained:
            return None
        values = np.array([seen.values for seen in trained])
        rewards = scalarise(values, study.directions, self._rng(number, WEIGHTS_STREAM))
        return trained[int(np.argmax(rewards))].code

    def _mark(
        self, study: Study, trial: FrozenTrial, kind: str, choice: dict[str, int] | None
    ) -> None:
        storage, turns = study._storage, Turns(study.get_trials(deepcopy=False))
        epsilon = self._schedule.epsilon(turns.of(trial.number))
        # The choice first: other workers are waiting to see it.
        if choice is not None:
            storage.set_trial_system_attr(trial._trial_id, CHOICE_ATTR, choice)
        storage.set_trial_system_attr(trial._trial_id, PROPOSAL_ATTR, kind)
        storage.set_trial_system_attr(trial._trial_id, EPSILON_ATTR, epsilon)


def refuse_below(least: float, name: str, value: float) -> None:
    """Refuse an argument that is too small.

    Raises:
        KdnasError: The value lies below the least.
    """
    if value < least:
        raise KdnasError(f"{name} must be at least {least}, got {value}")


class _Chooser:
    """Takes from the candidates one at a time: by score, or at random where there is none.

    Args:
        pool: Candidates, shape (candidates, parameters).
        scores: Of each, higher is better; None to draw.
        rng: Draws.
        ahead: How many of the best are left to other workers at first. Those that start at one
            moment see the same history and would all choose the same.
    """

    def __init__(
        self, pool: Codes, scores: Floats | None, rng: np.random.Generator, ahead: int
    ) -> None:
        self.pool, self.scores = pool, scores
        self._rng = rng
        self._ahead = ahead

    def __call__(self) -> Code:
        if self.scores is None:
            index = int(self._rng.integers(len(self.pool)))
        else:
            order = np.argsort(-self.scores, kind="stable")
            index = int(order[min(self._ahead, len(order) - 1)])
        return tuple(self.pool[index].tolist())

    def leave(self, taken: set[Code]) -> bool:
        """Choose among the others from now on; False where there is none."""
        left = [tuple(row) not in taken for row in self.pool.tolist()]
        if any(left):
            self.pool = self.pool[left]
            self.scores = None if self.scores is None else self.scores[left]
        return any(left)


def _exclude(codes: Codes, taken: set[Code]) -> Codes:
    mask = [tuple(row) not in taken for row in codes.tolist()]
    kept: Codes = codes[np.asarray(mask, dtype=bool)]
    return kept
