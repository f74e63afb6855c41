"""The controller that this package set out to beat, kept for comparison."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from optuna.study import Study

from kdnas.study.samplers._candidates import CandidateSpace, Codes
from kdnas.study.samplers._context import Rewarded, make_contexts
from kdnas.study.samplers._episodes import (
    NETWORK_STREAM,
    WEIGHTS_STREAM,
    EpisodeSampler,
    Floats,
    refuse_below,
)
from kdnas.study.samplers._history import Observation
from kdnas.study.samplers._predecessor import Controller, new_controller, train_controller
from kdnas.study.samplers._rewards import scalarise
from kdnas.study.samplers._schedule import SubtractiveSchedule

_LEARNING_RATE = 1e-4
_PASSES = 10
_MIN_OBSERVATIONS = 2

_Key = tuple[tuple[int, ...], int, tuple[Rewarded, ...]]


class PredecessorControllerSampler(EpisodeSampler):
    """One LSTM over [best of the last episode, best so far, candidate], as it was.

    Mean squared error on the rewards as observed; RMSprop with a step of 1e-4; ten passes over all
    complete trials after each episode, by a network that goes on learning from where it was; an
    epsilon that starts at 1 and loses the same step each episode, whatever the plan. It
    learns nothing from trials that were pruned. Unlike its original, it scores every valid
    architecture and tries none twice, as every sampler here.

    Args:
        seed: Non-negative; None draws one.
        n_trials: Planned total of trials, which changes nothing.
        episode_size: Trials in an episode.
        epsilon_step: What each episode takes off epsilon.
        epsilon_floor: Share of random trials at last, between 0 and 1.
        is_valid: Says whether a full set of parameters is an architecture. Must be pure, as its
            answers are kept. None accepts all.

    Raises:
        KdnasError: If an argument is out of its range.
    """

    def __init__(
        self,
        seed: int | None = None,
        *,
        n_trials: int = 120,
        episode_size: int = 8,
        epsilon_step: float = 0.05,
        epsilon_floor: float = 0.05,
        is_valid: Callable[[dict[str, Any]], bool] | None = None,
    ) -> None:
        refuse_below(0, "epsilon_step", epsilon_step)
        schedule = SubtractiveSchedule(n_trials, episode_size, epsilon_floor, step=epsilon_step)
        super().__init__(seed, schedule, is_valid)
        self._cached_controller: tuple[_Key, Controller] | None = None

    def _score(
        self,
        study: Study,
        observations: Sequence[Observation],
        space: CandidateSpace,
        pool: Codes,
        number: int,
    ) -> Floats | None:
        episode = number // self._schedule.size
        known = [seen for seen in observations if seen.values is not None and seen.share == 1]
        if len(known) < _MIN_OBSERVATIONS:
            return None
        values = np.array([seen.values for seen in known])
        weights_rng = self._rng(episode, WEIGHTS_STREAM)
        rewards = scalarise(values, study.directions, weights_rng)
        rewarded = [
            Rewarded(seen.number, seen.code, float(reward))
            for seen, reward in zip(known, rewards, strict=True)
        ]
        controller = self._controller(space, rewarded, episode)
        contexts = make_contexts(rewarded, [number], self._schedule.size, space.blank)
        return controller.predict(contexts[0], pool).astype(np.float64)

    def _controller(
        self, space: CandidateSpace, rewarded: Sequence[Rewarded], episode: int
    ) -> Controller:
        """Return the controller after all training up to an episode, done again where not kept."""
        past = tuple(seen for seen in rewarded if seen.number < episode * self._schedule.size)
        key = (tuple(space.sizes), episode, past)
        if self._cached_controller is None or self._cached_controller[0] != key:
            self._cached_controller = (key, self._train(space, past, episode))
        return self._cached_controller[1]

    def _train(self, space: CandidateSpace, past: Sequence[Rewarded], episode: int) -> Controller:
        controller, trained = self._begun(space, past, episode)
        numbers = [seen.number for seen in past]
        contexts = make_contexts(past, numbers, self._schedule.size, space.blank)
        codes = np.array([seen.code for seen in past], dtype=np.int64)
        sequences = np.concatenate([contexts, codes[:, None]], axis=1) if past else None
        rewards = np.array([seen.reward for seen in past])
        for ended in range(trained + 1, episode + 1):
            count = sum(number < ended * self._schedule.size for number in numbers)
            if sequences is None or count == 0:
                continue
            train_controller(
                controller,
                sequences[:count],
                rewards[:count],
                seed=self._seed_of(ended),
                learning_rate=_LEARNING_RATE,
                passes=_PASSES,
            )
        return controller.eval()

    def _begun(
        self, space: CandidateSpace, past: Sequence[Rewarded], episode: int
    ) -> tuple[Controller, int]:
        """Return a copy of the one that is kept, where it learnt from the same, and its episode."""
        if self._cached_controller is not None:
            (sizes, trained, known), controller = self._cached_controller
            ended = trained * self._schedule.size
            same = known == tuple(seen for seen in past if seen.number < ended)
            if sizes == tuple(space.sizes) and trained <= episode and same:
                return copy.deepcopy(controller), trained
        return new_controller(space.sizes, self._seed_of(0)), 0

    def _seed_of(self, episode: int) -> int:
        return int(self._rng(episode, NETWORK_STREAM).integers(2**63))
