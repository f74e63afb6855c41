"""The recurrent network that predicts the reward of an architecture, and its training.

The controller of LSTM-guided searches after Zoph and Le, "Neural Architecture Search with
Reinforcement Learning" (ICLR 2017), used here as a regressor whose predictions rank candidates.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from kdnas.search.samplers._candidates import Code, Codes

EMBEDDING_SIZE = 32
HIDDEN_SIZE = 32
_BATCH = 8
_CHUNK = 16_384


@dataclass(frozen=True)
class Observation:
    """One finished trial: its number, its architecture, its reward (higher is better)."""

    number: int
    code: Code
    reward: float


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


def make_contexts(
    observations: Sequence[Observation], numbers: Sequence[int], episode_size: int, blank: Code
) -> Codes:
    """Return what was known before each trial of ``numbers``, shape (numbers, 2, parameters).

    The first row is the best architecture of the episode before the trial's own, the second the
    best of all trials with a lower number; ``blank`` where there is none.

    Args:
        observations: Ordered by number.
        numbers: Trial numbers.
        episode_size: Trials in an episode.
        blank: The code of no architecture.
    """
    best_in_episode: dict[int, Observation] = {}
    best_so_far: list[Observation] = []
    for seen in observations:
        episode = seen.number // episode_size
        best_in_episode[episode] = _better(best_in_episode.get(episode), seen)
        best_so_far.append(_better(best_so_far[-1] if best_so_far else None, seen))
    known = [seen.number for seen in observations]
    contexts = []
    for number in numbers:
        previous = best_in_episode.get(number // episode_size - 1)
        before = bisect.bisect_left(known, number)
        contexts.append(
            (
                previous.code if previous else blank,
                best_so_far[before - 1].code if before else blank,
            )
        )
    return np.asarray(contexts, dtype=np.int64)


def _better(incumbent: Observation | None, challenger: Observation) -> Observation:
    if incumbent is None or challenger.reward > incumbent.reward:
        return challenger
    return incumbent


def standardise(rewards: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Scale rewards to mean 0 and variance 1, shape kept.

    The learning rate then suits every study: rewards may lie within a thousandth of each other or
    be losses in the hundreds, and the ranking of the candidates is the same. Rewards far below
    the rest (a student that diverged) are lifted to the lower quartile less three interquartile
    ranges, as one of them would otherwise press all the others into a single value.
    """
    lower, upper = np.quantile(rewards, [0.25, 0.75])
    if upper > lower:
        rewards = np.maximum(rewards, lower - 3 * (upper - lower))
    spread = rewards.std()
    centred = rewards - rewards.mean()
    scaled = centred / spread if spread > 0 else centred
    return np.asarray(scaled, dtype=np.float32)


def train_controller(
    sizes: Sequence[int],
    sequences: Codes,
    rewards: npt.NDArray[np.float64],
    *,
    seed: int,
    learning_rate: float,
    passes: int,
) -> Controller:
    """Train a fresh controller by mean squared error with RMSprop.

    Every draw comes from a generator of its own: the global random state is neither read nor
    changed, so training a student between two proposals changes nothing here, nor the reverse.

    Args:
        sizes: Number of choices of each parameter.
        sequences: Context and architecture of each finished trial, shape (trials, 3, parameters).
        rewards: Higher is better, shape (trials,).
        seed: Seed of the weights and of the order of the trials.
        learning_rate: RMSprop's step.
        passes: Times that every trial is seen.
    """
    generator = torch.Generator().manual_seed(seed)
    # A caller may hold inference mode or no_grad.
    with torch.inference_mode(False), torch.enable_grad():
        controller = _new_controller(sizes, generator)
        optimizer = torch.optim.RMSprop(controller.parameters(), lr=learning_rate)
        inputs, targets = torch.from_numpy(sequences), torch.from_numpy(standardise(rewards))
        for _ in range(passes):
            for batch in torch.split(torch.randperm(len(inputs), generator=generator), _BATCH):
                loss = nn.functional.mse_loss(controller(inputs[batch]), targets[batch])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    return controller.eval()


def _new_controller(sizes: Sequence[int], generator: torch.Generator) -> Controller:
    """Build a controller with PyTorch's usual initial weights, drawn from ``generator``."""
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
