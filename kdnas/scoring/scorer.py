"""What gives a candidate its held-out score."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from kdnas.space.candidate import Candidate


@dataclass(frozen=True)
class Budget:
    """How much a score may cost.

    Attributes:
        share: Part of the scorer's whole effort after which to pause and score, in (0, 1].
        checkpoint: File that keeps a paused training, for a later call to go on from.
        title: Names the work where progress is shown and recorded.
    """

    share: float = 1.0
    checkpoint: Path | None = None
    title: str = "candidate"


@dataclass(frozen=True)
class Score:
    """A candidate's held-out score.

    Attributes:
        value: Higher is better; comparable between all candidates of a study.
        interval: 95% confidence interval of the value; None where the scorer knows none.
        seconds: Wall time that it took.
        student: What was trained for it, which a full distillation can go on from, if anything.
        initial: The value before any training; None where the scorer knows none, or goes on with a
            paused training.
    """

    value: float
    interval: tuple[float, float] | None = None
    seconds: float = 0.0
    student: Any = field(default=None, compare=False, repr=False)
    initial: float | None = None


class Scorer(Protocol):
    """Gives candidates their scores."""

    def score(self, candidate: Candidate, budget: Budget) -> Score:
        """Scores a candidate.

        Raises:
            FloatingPointError: Its training diverged.
        """
