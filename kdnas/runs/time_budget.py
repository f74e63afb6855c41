"""The time that a run may take in all, and which of its steps there is time for."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from kdnas.runtime.plan import Plan, Step

# Kept back: estimates are good to about a tenth, and trials end when they end.
RESERVE = 0.05
# Of the time beside one trial and its student, what controls and further finalists may take.
SHARE_OF_OTHERS = 0.5
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
        trial: Seconds that a trial should take one worker, until some have ended.
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

    def expected(self, name: str, of: Collection[str] | None = None) -> float:
        """Seconds that a step should still take by itself; 0 for one that is done or unknown.

        `of` names the parts that count; default: all.
        """
        return sum(self.plan.expected(step, of) for step in self._steps(name))

    def later(self, but: Collection[str]) -> float:
        """Seconds that the steps of the plan still to come should take, without some of them."""
        steps = [s for s in self.plan.steps if not s.done and s.name not in but]
        return sum(step.added * self.plan.expected(step) for step in steps)

    def affords(self, name: str, jobs: int = 1) -> bool:
        """Whether there is time for a step, as one of some side by side, and for what must follow.

        Where nobody knows how long it takes beside others, it takes as many times as long.
        """
        each = [replace(step, jobs=jobs) for step in self._steps(name)]
        needed = sum(step.times * self.plan.expected(step) for step in each)
        return needed + sum(map(self.expected, LAST)) <= self.left

    def times(self, name: str, jobs: int) -> float:
        """How many times as long a step takes as one of some side by side as by itself.

        As many times as there are, where nobody knows.
        """
        each = (replace(step, jobs=jobs).times for step in self._steps(name))
        return next(each, float(jobs))

    def claimed(self, free: float) -> float:
        """What of some free seconds goes to steps that the plan had no time for.

        They follow in their order, as far as `SHARE_OF_OTHERS` of these seconds pays for them.
        """
        most, taken = SHARE_OF_OTHERS * free, 0.0
        for step in self.left_out:
            price = step.added * self.plan.expected(step)
            taken += price if taken + price <= most else 0.0
        return taken

    def _steps(self, name: str) -> list[Step]:
        """Those of a name that are not done."""
        return [s for s in (*self.plan.steps, *self.left_out) if s.name == name and not s.done]
