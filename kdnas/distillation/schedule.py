"""How long and how fast to train, and how far a training is."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from kdnas.distillation.batches import Indices, plan_epoch

# Losses are recorded every NOTE_EVERY steps, more often where that would give fewer than NOTES.
NOTE_EVERY = 20
NOTES = 20


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Attributes:
        epochs: Passes over the data, in whole or in part.
        lr: Peak learning rate of AdamW.
        batch_size: Examples a step, on average: steps have about equally many tokens.
        seed: Decides the order of the examples and what dropout drops.
        warmup: Share of the training over which the learning rate rises; then it falls to 0.
        weight_decay: Of the matrices; biases and normalisations have none.
        freeze_embeddings: Whether the word embeddings stay as they are.
        stride: Hidden states are compared at every n-th token.
        max_seconds: The learning rate then falls with the clock.
    """

    epochs: float
    lr: float
    batch_size: int = 32
    seed: int = 0
    warmup: float = 0.1
    weight_decay: float = 0.01
    dropout: bool = False
    freeze_embeddings: bool = False
    stride: int = 1
    max_steps: int | None = None
    max_seconds: float | None = None

    def plan(self, lengths: Indices, epoch: int, *, even: bool = False) -> list[Indices]:
        """The batches of an epoch; with `even` they have equally many examples."""
        return plan_epoch(lengths, self.batch_size, self.seed, epoch, even=even)

    def steps(self, lengths: Indices) -> int:
        """Steps in all, at least 1."""
        steps = max(1, round(self.epochs * len(self.plan(lengths, 0))))
        return min(steps, self.max_steps or steps)


@dataclass
class Pace:
    """Progress of a training: steps, seconds, learning rate, and losses at some steps.

    Attributes:
        steps: Steps at most.
        until: Share of them after which to pause.
        step: Steps done.
        curve: (step, total loss) of some steps.
    """

    schedule: Schedule
    steps: int
    until: float = 1.0
    step: int = 0
    curve: list[tuple[int, float]] = field(default_factory=list)
    seconds_before: float = 0.0
    began: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Seconds trained, those before an interruption included."""
        return self.seconds_before + time.perf_counter() - self.began

    @property
    def progress(self) -> float:
        """Share of the training that is done, from 0 to 1."""
        limit = self.schedule.max_seconds
        share = self.step / self.steps
        return min(1.0, max(share, self.seconds / limit) if limit else share)

    @property
    def ramp(self) -> float:
        """Where the next step is between the first, 0, and the last, 1; an only step is the last.

        A training by the clock has no known last step; there it is the share of the time.
        """
        share = self.step / (self.steps - 1) if self.steps > 1 else 1.0
        return min(1.0, max(share, self.progress))

    @property
    def done(self) -> bool:
        """Whether to stop, for good or until the training is taken up again."""
        return self.progress >= min(1.0, round(self.until * self.steps) / self.steps)

    @property
    def learning_rate(self) -> float:
        """Of the next step: up to the peak over the warm-up, then down to 0."""
        warmup = self.schedule.warmup
        middle = min(1.0, self.progress + 0.5 / self.steps)
        share = middle / warmup if middle < warmup else (1 - middle) / (1 - warmup)
        return self.schedule.lr * share

    def advance(self, loss: Tensor, norm: Tensor | None = None) -> None:
        """Counts a step; records its loss at some steps only: reading it waits for the device.

        Args:
            loss: The step's.
            norm: Of its gradient.

        Raises:
            FloatingPointError: One that was read is not finite. On a CPU each is read.
        """
        self.step += 1
        every = max(1, min(NOTE_EVERY, self.steps // NOTES))
        last = (self.steps, round(self.until * self.steps))
        noted = (self.step - 1) % every == 0 or self.step in last
        if not noted and loss.device.type != "cpu":
            return
        for what, number in (("loss", loss), ("norm of the gradient", norm)):
            if number is not None and not math.isfinite(number):
                place = f"at step {self.step} of {self.steps}"
                raise FloatingPointError(f"the {what} is {float(number)} {place}")
        if noted:
            self.curve.append((self.step, float(loss)))

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "seconds": self.seconds, "curve": list(self.curve)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step, self.seconds_before = state["step"], state["seconds"]
        self.curve = [(int(step), float(loss)) for step, loss in state["curve"]]
