"""The predecessor's controller as a sampler, for comparison."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from optuna.samplers import BaseSampler
from optuna.study import Study
from torch import nn

from kdnas.space import SearchSpace
from kdnas.study.samplers import make_sampler
from kdnas.study.samplers._candidates import CandidateSpace, Codes, Floats
from kdnas.study.samplers._epsilon import EpsilonSchedule
from kdnas.study.samplers._history import Observation, Rewarded, make_contexts
from kdnas.study.samplers._lessons import Lessons
from kdnas.study.samplers.distinct import DistinctSampler
from kdnas.study.samplers.surrogate import NETWORK_STREAM, SurrogateSampler, refuse_below

NAME = "lstm-predecessor"
EMBEDDING_SIZE = 32
HIDDEN_SIZE = 32
_BATCH = 8
_CHUNK = 16_384
_LEARNING_RATE = 1e-4
_PASSES = 10
_MIN_OBSERVATIONS = 2

_Key = tuple[tuple[int, ...], int, tuple[Rewarded, ...]]


def make_compared(name: str, space: SearchSpace, seed: int, trials: int) -> BaseSampler:
    """A sampler of kdnas by name, or the predecessor's."""
    if name != NAME:
        return make_sampler(name, space, seed, trials)
    sampler = PredecessorControllerSampler(seed, n_trials=trials, is_valid=space.is_valid)
    return DistinctSampler(lambda _: sampler, space, seed)


@dataclass(frozen=True)
class SubtractiveSchedule(EpsilonSchedule):
    """The predecessor's: each episode takes the same step off epsilon, however long the plan.

    A plan of few episodes never gets near its floor.

    Args:
        step: What an episode takes off.
    """

    step: float = 0.05

    @property
    def size(self) -> int:
        """Trials in an episode, whatever the plan."""
        return self.episode_size

    def _share(self, episode: int) -> Fraction:
        return max(Fraction(str(self.floor)), 1 - episode * Fraction(str(self.step)))

    def _randoms(self, episode: int) -> int:
        """Each episode's share by itself, as the predecessor counted: at 0.05 of 8 none is left."""
        return floor(self._share(episode) * self.size + Fraction(1, 2))


class PredecessorControllerSampler(SurrogateSampler):
    """One LSTM over [best of the last episode, best so far, candidate].

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
        plan: dict[str, Any] = {"n_trials": n_trials, "episode_size": episode_size}
        super().__init__(seed, epsilon_floor=epsilon_floor, is_valid=is_valid, **plan)
        self._schedule = SubtractiveSchedule(floor=epsilon_floor, step=epsilon_step, **plan)
        self._cached_controller: tuple[_Key, Controller] | None = None

    def _score(
        self,
        study: Study,
        observations: Sequence[Observation],
        space: CandidateSpace,
        pool: Codes,
        pending: Codes,
        turn: int,
        lessons: Lessons,
    ) -> Floats | None:
        episode = turn // self._schedule.size
        known = [seen for seen in observations if seen.values is not None and seen.share == 1]
        if len(known) < _MIN_OBSERVATIONS:
            return None
        rewarded = self._rewarded(known, study.directions, episode)
        controller = self._controller(space, rewarded, episode)
        contexts = make_contexts(rewarded, [turn], self._schedule.size, tuple(space.sizes))
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
        contexts = make_contexts(past, numbers, self._schedule.size, tuple(space.sizes))
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


class Controller(nn.Module):
    """Embeddings of the choices, an LSTM over three architectures, and a linear head.

    Args:
        sizes: Number of choices of each parameter. Each embedding has one row more, for the
            blank architecture that stands in the context before there is a best one.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(n + 1, EMBEDDING_SIZE) for n in sizes)
        self.lstm = nn.LSTM(EMBEDDING_SIZE * len(sizes), HIDDEN_SIZE, batch_first=True)
        self.head = nn.Linear(HIDDEN_SIZE, 1)

    def forward(self, sequences: torch.Tensor) -> torch.Tensor:
        """Map codes of shape (batch, 3, parameters) to predicted rewards of shape (batch,)."""
        states, _ = self.lstm(self._embed(sequences))
        return self._read(states)

    @torch.no_grad()
    def predict(self, context: Codes, candidates: Codes) -> npt.NDArray[np.float32]:
        """Return the predicted reward of each candidate, shape (candidates,).

        Args:
            context: Best of the previous episode and best so far, shape (2, parameters).
            candidates: Shape (candidates, parameters).
        """
        # All candidates share the first two steps, so these run once.
        _, (hidden, cell) = self.lstm(self._embed(torch.from_numpy(context)[None]))
        predictions = []
        for chunk in torch.split(torch.from_numpy(candidates), _CHUNK):
            shape = (1, len(chunk), HIDDEN_SIZE)
            state = (hidden.expand(shape).contiguous(), cell.expand(shape).contiguous())
            states, _ = self.lstm(self._embed(chunk[:, None]), state)
            predictions.append(self._read(states))
        return torch.cat(predictions).numpy()

    def _embed(self, codes: torch.Tensor) -> torch.Tensor:
        return torch.cat([embed(codes[..., i]) for i, embed in enumerate(self.embeddings)], dim=-1)

    def _read(self, states: torch.Tensor) -> torch.Tensor:
        prediction: torch.Tensor = self.head(states[:, -1]).squeeze(-1)
        return prediction


def train_controller(
    controller: Controller,
    sequences: Codes,
    rewards: npt.NDArray[np.float64],
    *,
    seed: int,
    learning_rate: float,
    passes: int,
) -> None:
    """Train by mean squared error on the rewards as they are, with RMSprop.

    Args:
        controller: Goes on from where it is.
        sequences: Context and architecture of each finished trial, shape (trials, 3, parameters).
        rewards: Higher is better, shape (trials,).
        seed: Of the order of the trials.
        learning_rate: RMSprop's step.
        passes: Times that every trial is seen.
    """
    generator = torch.Generator().manual_seed(seed)
    # A caller may hold inference mode or no_grad.
    with torch.inference_mode(False), torch.enable_grad():
        optimizer = torch.optim.RMSprop(controller.parameters(), lr=learning_rate)
        inputs, targets = torch.from_numpy(sequences), torch.from_numpy(rewards).float()
        for _ in range(passes):
            for batch in torch.split(torch.randperm(len(inputs), generator=generator), _BATCH):
                loss = nn.functional.mse_loss(controller(inputs[batch]), targets[batch])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()


def new_controller(sizes: Sequence[int], seed: int) -> Controller:
    """Build a controller with PyTorch's usual initial weights.

    Every draw, here and in training, comes from a generator of its own: the global random state is
    neither read nor changed.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        controller = Controller(sizes)
    controller = controller.to_empty(device="cpu")
    bound = HIDDEN_SIZE**-0.5
    with torch.no_grad():
        for embedding in controller.embeddings.parameters():
            embedding.normal_(generator=generator)
        for module in (controller.lstm, controller.head):
            for weight in module.parameters():
                weight.uniform_(-bound, bound, generator=generator)
    return controller
