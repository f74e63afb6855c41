"""The predecessor's network: one LSTM that reads three architectures, and its training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from kdnas.study.samplers._candidates import Codes

EMBEDDING_SIZE = 32
HIDDEN_SIZE = 32
_BATCH = 8
_CHUNK = 16_384


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
