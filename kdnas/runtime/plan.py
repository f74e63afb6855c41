"""The steps of a long job: how long each should take, and how long all that is left will.

Estimates come from a few measured steps of training. They are corrected by what the work has taken
so far: sums over all of it, not the last moments, so that the time left does not jump about on a
machine that does other things, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kdnas.runtime.formatting import in_time, several
from kdnas.runtime.progress import Ongoing

# Before a kind of work has taken this long, most of its estimate stands; for long steps a share.
TRUST_SECONDS, TRUST_SHARE = 30.0, 0.05


@dataclass
class Step:
    """One step of a job.

    Attributes:
        name: As the log has it.
        title: What a person reads.
        parts: Estimated seconds by part. A part is the last words of the title of a progress bar.
        kind: Steps of a kind are corrected together.
        done: Whether it has ended, or had a result already.
        shares: How much of each part is done, from 0 to 1.
        spent: Seconds that it has taken.
    """

    name: str
    title: str
    parts: Mapping[str, float]
    kind: str = ""
    done: bool = False
    shares: dict[str, float] = field(default_factory=dict)
    spent: float = 0.0

    @property
    def seconds(self) -> float:
        """As estimated at first."""
        return sum(self.parts.values())

    @property
    def covered(self) -> float:
        """Seconds of the estimate whose work is done."""
        return sum(seconds * self.shares.get(name, 0.0) for name, seconds in self.parts.items())

    def reach(self, part: str, share: float) -> None:
        """Notes how much of a part is done; the parts before it are, or were not needed."""
        for name in self.parts:
            self.shares[name] = share if name == part else 1.0
            if name == part:
                return

    def part_of(self, title: str) -> str | None:
        """The part that a progress bar shows."""
        return max((n for n in self.parts if title.endswith(n)), key=len, default=None)


class Plan:
    """The steps of a job, in order, and where it is.

    Args:
        steps: Those still to come.
        clock: Tells the time, in seconds.
    """

    def __init__(self, steps: Sequence[Step], clock: Callable[[], float] = time.monotonic) -> None:
        self.steps, self.clock = list(steps), clock
        self.start = clock()
        self.current: Step | None = None
        self.began = self.start
        self.first = sum(step.seconds for step in self.steps)

    @property
    def elapsed(self) -> float:
        """Seconds since the job began."""
        return self.clock() - self.start

    @property
    def headline(self) -> str:
        """`plan: 8 steps, about 22 min`."""
        if not self.steps:
            return "plan: nothing is left to do"
        steps = several(len(self.steps), "step")
        return f"plan: {steps}, about {in_time(self.first, rough=True)}"

    @property
    def lines(self) -> list[str]:
        """The steps with what each should take."""
        width = max((len(step.title) for step in self.steps), default=0)
        return [
            f"  {'' if i > 1 else 'steps':<11}{i:>2} {step.title:<{width}}  "
            f"about {in_time(step.seconds, rough=True)}"
            for i, step in enumerate(self.steps, 1)
        ]

    @property
    def described(self) -> dict[str, Any]:
        """As plain values."""
        steps = [{"name": s.name, "title": s.title, "seconds": s.seconds} for s in self.steps]
        return {"steps": steps, "seconds": self.first}

    def begin(self, name: str) -> Step | None:
        """Begins a step, which ends those before it; None where it is not in the plan."""
        place = next((i for i, step in enumerate(self.steps) if step.name == name), None)
        if place is None:
            return None
        for step in self.steps[:place]:
            step.done = True
        self.current, self.began = self.steps[place], self.clock()
        self.current.done = False
        return self.current

    def reach(self, opened: Sequence[Ongoing]) -> None:
        """Notes how far the jobs are whose progress is shown, the enclosing ones first."""
        if self.current and (part := self.current.part_of(opened[0].title)):
            self.current.reach(part, opened[0].share)

    def end(self, step: Step) -> None:
        """Ends a step."""
        step.spent += self.clock() - self.began
        step.done, self.current = True, None
        step.shares = dict.fromkeys(step.parts, 1.0)

    def rescale(self, kind: str, factor: float) -> None:
        """Corrects the estimates of the steps of a kind that have not begun."""
        for step in self.steps:
            if step.kind == kind and not step.done and step is not self.current:
                step.parts = {name: factor * seconds for name, seconds in step.parts.items()}

    @property
    def seconds_left(self) -> float:
        """Of the whole job, by all that is known now."""
        return sum(self.expected(step) for step in self.steps if not step.done)

    def expected(self, step: Step) -> float:
        """Seconds that a step, of this plan or not, still needs, by all that is known now."""
        overall, kinds = self._factors()
        return (step.seconds - step.covered) * kinds.get(step.kind, overall)

    @property
    def share(self) -> float:
        """How much of the job's time is over, from 0 to 1."""
        elapsed = self.elapsed
        return elapsed / max(elapsed + self.seconds_left, 1e-9)

    @property
    def place(self) -> str:
        """`step 3 of 8`."""
        number = self.steps.index(self.current) + 1 if self.current else len(self.steps)
        return f"step {number} of {len(self.steps)}"

    @property
    def left(self) -> str:
        """`about 12 min left in all`."""
        return f"about {in_time(self.seconds_left, rough=True)} left in all"

    def _factors(self) -> tuple[float, dict[str, float]]:
        """How much longer than estimated work has taken, in all and by kind."""
        taken: dict[str, tuple[float, float]] = {}
        for step in self.steps:
            spent = step.spent
            if step is self.current:
                spent += self.clock() - self.began
            if spent:
                before = taken.get(step.kind, (0.0, 0.0))
                taken[step.kind] = (before[0] + spent, before[1] + step.covered)
        trust = max(TRUST_SECONDS, TRUST_SHARE * self.first)
        sums = [sum(pair[i] for pair in taken.values()) for i in (0, 1)]
        overall = (sums[0] + trust) / (sums[1] + trust)
        kinds = {
            kind: (spent + trust * overall) / (covered + trust)
            for kind, (spent, covered) in taken.items()
        }
        return overall, kinds
