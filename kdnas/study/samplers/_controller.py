"""The ensemble of recurrent networks that predicts what an architecture would give.

After the controller of Zoph and Le, "Neural Architecture Search with Reinforcement Learning"
(ICLR 2017) and the predictor of Liu et al., "Progressive Neural Architecture Search" (ECCV 2018:
an LSTM as regressor, five of them averaged), with the spread of the ensemble as uncertainty after
Lakshminarayanan et al., "Simple and Scalable Predictive Uncertainty Estimation using Deep
Ensembles" (NeurIPS 2017).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from kdnas.errors import KdnasError
from kdnas.study.samplers._candidates import Codes, Floats
from kdnas.study.samplers._predictor import Evidence

EMBEDDING_SIZE = 16
HIDDEN_SIZE = 32
EMBEDDING_SCALE = 0.3
_CHUNK = 4_096
# Steps that are enough for a rate that rises and falls.
_LEAST_CYCLE = 6

State = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class LSTMs:
    """The ensemble as a model of the search space.

    Attributes:
        members: Networks in the ensemble.
        steps: Of Adam on all finished trials together. The controllers are trained afresh for each
            of their proposals.
        learning_rate: Adam's highest.

    Raises:
        KdnasError: One of them is out of its range.
    """

    members: int = 5
    steps: int = 60
    learning_rate: float = 1e-2
    errs_alike: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("members", "steps"):
            if getattr(self, name) < 1:
                raise KdnasError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.learning_rate <= 0:
            raise KdnasError(f"learning_rate must be positive, got {self.learning_rate}")

    def predict(self, evidence: Evidence) -> Floats:
        """What each network predicts, shape (members, candidates, outputs)."""
        controllers = train_controllers(
            *(
                evidence.levels,
                evidence.context,
                evidence.codes,
                evidence.targets,
                evidence.weights,
            ),
            members=self.members,
            steps=self.steps,
            learning_rate=self.learning_rate,
            seed=evidence.seed,
        )
        return predict(controllers, evidence.context, evidence.pool)


class Controllers(nn.Module):
    """Several LSTMs side by side, each over [best of the last episode, best so far, candidate].

    An architecture is one step: an embedding a parameter, beside the numeric values of the choices.
    The first two steps are the same for all candidates, so that the LSTM reads a candidate in the
    light of what it has to beat. A linear path leads from the candidate's values around the LSTM
    to the outputs: a handful of trials is enough to see which way a parameter works.

    Args:
        levels: Numeric value of each choice of each parameter, in [-1, 1].
        members: Networks in the ensemble.
        outputs: Numbers that each predicts.
    """

    offsets: torch.Tensor
    levels: torch.Tensor

    def __init__(
        self, levels: Sequence[Floats], members: int, outputs: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        sizes = [len(values) for values in levels]
        table = torch.zeros(sum(sizes), len(sizes))
        offsets = [0, *itertools.accumulate(sizes[:-1])]
        for column, (offset, values) in enumerate(zip(offsets, levels, strict=True)):
            table[offset : offset + len(values), column] = torch.from_numpy(values)
        self.register_buffer("offsets", torch.tensor(offsets))
        self.register_buffer("levels", table)
        bound = HIDDEN_SIZE**-0.5

        def uniform(*shape: int) -> nn.Parameter:
            drawn = torch.rand(members, *shape, generator=generator)
            return nn.Parameter((drawn * 2 - 1) * bound)

        embeddings = torch.randn(members, sum(sizes), EMBEDDING_SIZE, generator=generator)
        self.embeddings = nn.Parameter(embeddings * EMBEDDING_SCALE)
        self.input = uniform((EMBEDDING_SIZE + 1) * len(sizes), 4 * HIDDEN_SIZE)
        self.recurrent = uniform(HIDDEN_SIZE, 4 * HIDDEN_SIZE)
        self.gates = uniform(1, 4 * HIDDEN_SIZE)
        self.head = uniform(HIDDEN_SIZE, outputs)
        self.bias = nn.Parameter(torch.zeros(members, 1, outputs))
        self.linear = nn.Parameter(torch.zeros(members, len(sizes), outputs))

    def forward(self, context: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Predictions, shape (members, batch, outputs).

        The candidates `codes`, shape (batch, parameters), follow on `context`, (steps, parameters).
        """
        rows = torch.cat([context, codes]) + self.offsets
        values = self.levels[rows].sum(1).expand(len(self.embeddings), -1, -1)
        gates = torch.cat([self.embeddings[:, rows].flatten(2), values], dim=-1) @ self.input
        state: State | None = None
        for step in range(len(context)):
            state = self._step(gates[:, step : step + 1], state)
        hidden, _ = self._step(gates[:, len(context) :], state)
        around = values[:, len(context) :] @ self.linear
        predictions: torch.Tensor = hidden @ self.head + self.bias + around
        return predictions

    def _step(self, gates: torch.Tensor, state: State | None) -> State:
        """One step of every member's LSTM; `gates` has shape (members, batch, 4 * hidden)."""
        gates = gates + self.gates
        if state is not None:
            gates = gates + state[0] @ self.recurrent
        enter, leave, keep, update = gates.chunk(4, dim=-1)
        cell = enter.sigmoid() * update.tanh()
        if state is not None:
            cell = cell + keep.sigmoid() * state[1]
        return leave.sigmoid() * cell.tanh(), cell


def train_controllers(
    levels: Sequence[Floats],
    context: Codes,
    codes: Codes,
    targets: Floats,
    weights: Floats,
    *,
    members: int,
    steps: int,
    learning_rate: float,
    seed: int,
) -> Controllers:
    """Trains fresh controllers by weighted squared error, each on all trials.

    They differ by their initial weights alone. Every draw comes from a generator of its own: the
    global random state is neither read nor changed, so training a student between two proposals
    changes nothing here, nor the reverse.

    Args:
        levels: Numeric value of each choice of each parameter, in [-1, 1].
        context: Best of the last episode and best so far, shape (2, parameters).
        codes: Architecture of each trial, shape (trials, parameters).
        targets: Shape (trials, outputs), of mean 0 and variance 1; NaN where nothing is known.
        weights: Of each trial, shape (trials,).
        members: Networks in the ensemble.
        steps: Of Adam, on all trials together.
        learning_rate: The highest; it rises to it in a fifth of the steps and falls to 0. Fewer
            than 6 steps are all of this size.
    """
    generator = torch.Generator().manual_seed(seed)
    # A caller may hold inference mode or no_grad.
    with torch.inference_mode(False), torch.enable_grad():
        controllers = Controllers(levels, members, targets.shape[1], generator)
        optimizer = Adam(controllers.parameters(), lr=learning_rate)
        schedule: LRScheduler = LambdaLR(optimizer, lambda step: 1.0)
        if steps >= _LEAST_CYCLE:
            schedule = OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.2)
        before, inputs = torch.from_numpy(context), torch.from_numpy(codes)
        wanted = torch.from_numpy(np.nan_to_num(targets)).float()
        known = torch.from_numpy(np.isfinite(targets) * weights[:, None]).float()
        known = known / known.sum(0)
        for _ in range(steps):
            # A sum over members: none slows another down.
            loss = (known * (controllers(before, inputs) - wanted) ** 2).sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return controllers.eval()


@torch.no_grad()
def predict(controllers: Controllers, context: Codes, codes: Codes) -> Floats:
    """Each member's predictions, shape (members, candidates, outputs)."""
    before = torch.from_numpy(context)
    chunks = torch.split(torch.from_numpy(codes), _CHUNK)
    return torch.cat([controllers(before, chunk) for chunk in chunks], dim=1).double().numpy()
