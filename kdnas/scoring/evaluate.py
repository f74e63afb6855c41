"""What one trial finds out about a candidate: its costs, its score, its reward."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from kdnas.errors import DivergedError
from kdnas.scoring.costs import Costs, ShapeOf, given_shape
from kdnas.scoring.limits import Limits
from kdnas.scoring.scorer import Budget, Score, Scorer
from kdnas.space import AnyArchitecture, Candidate


@dataclass(frozen=True)
class Evaluation:
    """One evaluated candidate, and the seconds that it took.

    One that breaks a limit is not trained: it has no score, nor a reward, which weighs score and
    cost. For `violations` see `Limits.violations`. The `shape` of a pruned one was found out.
    """

    costs: Costs
    violations: dict[str, float]
    score: Score | None
    reward: float | None
    seconds: float
    shape: AnyArchitecture | None = None

    @property
    def attributes(self) -> dict[str, float]:
        """Plain numbers for a trial's user attributes."""
        found = {**self.costs.numbers, "seconds": self.seconds}
        if self.score is not None and self.reward is not None:
            value = self.score.value
            found |= {"score": value, "loss": 1 - value, "reward": self.reward}
            if self.score.interval is not None:
                found["score_low"], found["score_high"] = self.score.interval
            if self.score.initial is not None:
                found["initial_loss"] = 1 - self.score.initial
        return found


class Evaluate(Protocol):
    """`evaluate_candidate` with its scorer, costs, limits and reward filled in."""

    def __call__(
        self, candidate: Candidate, budget: Budget, costs: Costs | None = None
    ) -> Evaluation:
        """Evaluates a candidate."""


def evaluate_candidate(
    candidate: Candidate,
    budget: Budget,
    costs: Costs | None = None,
    *,
    scorer: Scorer,
    measure: Callable[[Candidate], Costs],
    limits: Limits,
    reward: Callable[[float, Costs], float],
    shape_of: ShapeOf = given_shape,
) -> Evaluation:
    """Costs, where no earlier trial measured them, then the score, unless a limit is broken.

    `reward` takes the score's value and the costs; `shape_of` knows what pruning leaves.

    Raises:
        FloatingPointError: Its training diverged, or the score is not finite.
    """
    start = time.perf_counter()
    costs = costs or measure(candidate)
    violations = limits.violations(costs.speedup, costs.params, candidate.pruning)
    shape = shape_of(candidate)
    if any(value > 0 for value in violations.values()):
        return Evaluation(costs, violations, None, None, time.perf_counter() - start, shape)
    try:
        score = scorer.score(candidate, budget)
    except DivergedError as error:  # this candidate's failure, not the search's
        raise FloatingPointError(str(error)) from None
    if not math.isfinite(score.value):
        raise FloatingPointError(f"its score is {score.value}; lower its learning rate")
    worth = reward(score.value, costs)
    return Evaluation(costs, violations, score, worth, time.perf_counter() - start, shape)
