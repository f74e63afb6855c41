"""The steps of a long job: how long each should take, and how long all that is left will.

Estimates come from a few measured steps of training. They are corrected by what the work has taken
so far: sums over all of it, not the last moments, so that the time left does not jump about on a
machine that does other things, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
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
        spent: Seconds that it has taken, or would have by itself.
        jobs: How many steps run side by side when it does; 1 where it has the machine to itself.
        slower: How many times as long it takes beside others, with its part of the machine; by
            default as many times as there are.
    """

    name: str
    title: str
    parts: Mapping[str, float]
    kind: str = ""
    done: bool = False
    shares: dict[str, float] = field(default_factory=dict)
    spent: float = 0.0
    jobs: int = 1
    slower: float | None = None

    @property
    def seconds(self) -> float:
        """By itself, as estimated at first."""
        return sum(self.parts.values())

    @property
    def times(self) -> float:
        """How many times as long it takes as by itself."""
        return (self.slower or float(self.jobs)) if self.jobs > 1 else 1.0

    @property
    def added(self) -> float:
        """What it adds to the time of all steps, as a share of its own."""
        return min(1.0, self.times / self.jobs)

    @property
    def share(self) -> float:
        """How much of its work is done, from 0 to 1."""
        return self.covered / self.seconds if self.seconds else 0.0

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

    def hear(self, title: str, share: float) -> None:
        """Notes how far a progress bar is, if it shows one of the parts."""
        if part := self.part_of(title):
            self.reach(part, share)

    def part_of(self, title: str) -> str | None:
        """The part that a progress bar shows."""
        return max((n for n in self.parts if title.endswith(n)), key=len, default=None)


class Plan:
    """The steps of a job, in order, and where it is.

    Of steps that run side by side each takes longer than by itself, and all together less. The time
    of the job is by the clock on the wall.

    Args:
        steps: Those still to come.
        clock: Tells the time, in seconds.
    """

    def __init__(self, steps: Sequence[Step], clock: Callable[[], float] = time.monotonic) -> None:
        self.steps, self.clock = list(steps), clock
        self.start = clock()
        self.running: list[Step] = []
        self._counted = self.start  # until when the running steps' time is counted
        self.first = sum(step.added * step.seconds for step in self.steps)

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
            f"about {in_time(step.added * step.seconds, rough=True)}"
            for i, step in enumerate(self.steps, 1)
        ]

    @property
    def described(self) -> dict[str, Any]:
        """As plain values."""
        steps = [
            {"name": s.name, "title": s.title, "seconds": s.added * s.seconds} for s in self.steps
        ]
        return {"steps": steps, "seconds": self.first}

    @property
    def current(self) -> Step | None:
        """The step that began last of those that run."""
        return self.running[-1] if self.running else None

    def begin(self, name: str, jobs: int = 1) -> Step | None:
        """Begins a step, as one of some side by side; None where the plan does not have it.

        Steps before it that do not run are over.
        """
        place = next((i for i, step in enumerate(self.steps) if step.name == name), None)
        if place is None:
            return None
        self._count()
        for step in self.steps[:place]:
            step.done = step.done or not self._runs(step)
        begun = self.steps[place]
        begun.done, begun.jobs = False, jobs
        if not self._runs(begun):
            self.running.append(begun)
        return begun

    def reach(self, opened: Sequence[Ongoing]) -> None:
        """Notes how far the jobs are whose progress is shown, the enclosing ones first."""
        for step in self.running:
            step.hear(opened[0].title, opened[0].share)

    def end(self, step: Step) -> None:
        """Ends a step."""
        self.drop(step)
        step.done = True
        step.shares = dict.fromkeys(step.parts, 1.0)

    def drop(self, step: Step) -> None:
        """Leaves a step that failed; it may begin again."""
        self._count()
        self.running = [one for one in self.running if one is not step]

    def settle(self, names: Collection[str]) -> None:
        """Notes that steps are over, those among them that were not needed."""
        for step in self.steps:
            step.done = step.done or (step.name in names and not self._runs(step))

    def rescale(self, kind: str, factor: float, but: Collection[str] = ()) -> None:
        """Corrects the estimates of a kind of steps, `but` of some names, that have not begun."""
        for step in self.steps:
            due = step.name not in but and not step.done and not self._runs(step)
            if step.kind == kind and due:
                step.parts = {name: factor * seconds for name, seconds in step.parts.items()}

    @property
    def seconds_left(self) -> float:
        """Of the whole job, by all that is known now."""
        return sum(step.added * self.expected(step) for step in self.steps if not step.done)

    def expected(self, step: Step, of: Collection[str] | None = None) -> float:
        """Seconds that a step, of this plan or not, still needs by itself, by what is known now.

        `of` names the parts that count; default: all.
        """
        overall, kinds = self._factors()
        counted = {name: s for name, s in step.parts.items() if of is None or name in of}
        left = sum(s * (1 - step.shares.get(name, 0.0)) for name, s in counted.items())
        return left * kinds.get(step.kind, overall)

    @property
    def share(self) -> float:
        """How much of the job's time is over, from 0 to 1."""
        elapsed = self.elapsed
        return elapsed / max(elapsed + self.seconds_left, 1e-9)

    @property
    def place(self) -> str:
        """`step 3 of 8`, or `steps 3 to 5 of 8` of steps that run side by side."""
        numbers = [i for i, step in enumerate(self.steps, 1) if self._runs(step)]
        first, last = min(numbers, default=len(self.steps)), max(numbers, default=0)
        which = f"steps {first} to {last}" if last > first else f"step {first}"
        return f"{which} of {len(self.steps)}"

    @property
    def left(self) -> str:
        """`about 12 min left in all`."""
        return f"about {in_time(self.seconds_left, rough=True)} left in all"

    def _runs(self, step: Step) -> bool:
        return any(one is step for one in self.running)

    def _count(self) -> None:
        """Counts the time since it was counted last, as what each running step has had of it."""
        now = self.clock()
        for step in self.running:
            step.spent += (now - self._counted) / step.times
        self._counted = now

    def _factors(self) -> tuple[float, dict[str, float]]:
        """How much longer than estimated work has taken, in all and by kind."""
        self._count()
        taken: dict[str, tuple[float, float]] = {}
        for step in self.steps:
            if step.spent:
                spent, covered = taken.get(step.kind, (0.0, 0.0))
                taken[step.kind] = (spent + step.spent, covered + step.covered)
        trust = max(TRUST_SECONDS, TRUST_SHARE * self.first)
        sums = [sum(pair[i] for pair in taken.values()) for i in (0, 1)]
        overall = (sums[0] + trust) / (sums[1] + trust)
        kinds = {
            kind: (spent + trust * overall) / (covered + trust)
            for kind, (spent, covered) in taken.items()
        }
        return overall, kinds
