"""The time that a run may take in all, and which of its steps there is time for."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from kdnas.runtime.plan import Plan, Step

# Kept back: estimates are good to about a tenth, and trials end when they end.
RESERVE = 0.05
# What has to follow whatever else is done.
LAST = ("report",)


@dataclass(frozen=True)
class TimeBudget:
    """The time of a run, from its first session on.

    Attributes:
        seconds: In all; infinite where nothing limits it.
        spent: Tells the seconds that it has taken so far.
        plan: Its steps, with what each is expected to take.
        left_out: Steps that the plan has no time for; they are done where there is time after all.
        trial: Seconds that a trial should take, until some have ended.
    """

    seconds: float = math.inf
    spent: Callable[[], float] = lambda: 0.0
    plan: Plan = field(default_factory=lambda: Plan(()))
    left_out: Sequence[Step] = ()
    trial: float = math.inf

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return math.isfinite(self.seconds)

    @property
    def reserve(self) -> float:
        """Seconds that are planned for nothing."""
        return RESERVE * self.seconds if self.limited else 0.0

    @property
    def left(self) -> float:
        """Seconds left; below 0 once they are over."""
        return self.seconds - self.spent()

    def expected(self, name: str) -> float:
        """Seconds that a step should still take; 0 for one that is done or unknown."""
        steps = [s for s in (*self.plan.steps, *self.left_out) if s.name == name and not s.done]
        return sum(map(self.plan.expected, steps))

    def later(self, but: Collection[str]) -> float:
        """Seconds that the steps of the plan still to come should take, without some of them."""
        steps = [s for s in self.plan.steps if not s.done and s.name not in but]
        return sum(map(self.plan.expected, steps))

    def affords(self, name: str, beside: int = 0) -> bool:
        """Whether there is time for a step and for what has to follow.

        Of steps that are expected to take the machine one after the other, each that runs `beside`
        it takes its share: at worst it takes so many times as long.
        """
        needed = (1 + beside) * self.expected(name) + sum(map(self.expected, LAST))
        return needed <= self.left
