"""Whether a job has become far slower than it began: other work may have taken its cores."""

from __future__ import annotations

import os
from statistics import median

from kdnas.runtime.working_time import working_seconds

# The first steps are the measure, after those in which memory is allocated and kernels chosen.
WARM_UP, FIRST = 3, 20
# Later ones are compared over at least so many steps and seconds.
RECENT_STEPS, RECENT_SECONDS = 10, 15.0
# Batches differ in length, so that a factor of two says nothing.
FACTOR = 4.0


class Pace:
    """Watches the steps of one job, and says once that they have become slow."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.times: list[float] = []
        self.last, self.usual = 0.0, 0.0
        self.since, self.steps, self.said = 0.0, 0, False

    def step(self) -> str | None:
        """Counts a step; returns the notice when one is due."""
        now, before = working_seconds(), self.last
        self.last = now
        if not before or self.said:
            return None
        if not self.usual:
            self.times.append(now - before)
            if len(self.times) == WARM_UP + FIRST:
                self.usual, self.since = median(self.times[WARM_UP:]), now
            return None
        self.steps += 1
        if self.steps < RECENT_STEPS or now - self.since < RECENT_SECONDS:
            return None
        slower = (now - self.since) / self.steps / max(self.usual, 1e-9)
        self.since, self.steps = now, 0
        if slower < FACTOR:
            return None
        self.said = True
        return f"{self.title}: {slower:.0f} times slower than its first steps{_load()}"


def _load() -> str:
    """The likely cause, where the machine tells it."""
    if not hasattr(os, "getloadavg"):
        return ""
    cores, load = os.cpu_count() or 1, os.getloadavg()[0]
    return f"; other work takes its cores (load {load:.1f} on {cores})" if load > cores else ""
