"""The progress of jobs, one within another, and how often a line about them is printed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# Lines come this often at first, later so many times less often than the job has run, but no
# less often than that.
LINE_SECONDS, LINE_SHARE, MOST_LINE_SECONDS = 15.0, 0.02, 300.0
# Of so many steps no fractions are shown.
MANY = 100


@dataclass
class Ongoing:
    """Of a job of some steps, of which `before` were done when it began.

    Jobs that are enclosed are parts of its current step.
    """

    title: str
    total: float
    before: float
    unit: str = ""

    def __post_init__(self) -> None:
        self.start, self.done = time.monotonic(), self.before
        self.inner: Ongoing | None = None

    @contextmanager
    def within(self, opened: list[Ongoing]) -> Iterator[None]:
        """Puts it below those that are open."""
        outer = opened[-1] if opened else None
        if outer:
            outer.inner = self
        opened.append(self)
        try:
            yield
        finally:
            opened.remove(self)
            if outer:
                outer.inner = None

    def reach(self, done: float, total: float | None = None) -> None:
        """Sets the steps done, and how many there are where that has changed."""
        self.done = done
        self.total = self.total if total is None else total

    @property
    def share(self) -> float:
        """How much of what was to do is done, from 0 to 1, with that of the current step."""
        step = self.inner.share if self.inner else 0.0
        left = self.total - self.before
        # What was lost and is done again may bring it back behind where it began.
        done = max(0.0, self.done + step - self.before)
        return min(1.0, done / left) if left > 0 else 1.0

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.start

    @property
    def seconds_left(self) -> float:
        """At the speed so far."""
        share = self.share
        return self.seconds * (1 - share) / share if share else 0.0

    @property
    def label(self) -> str:
        """`trial 7/40`, the one that it is at; its title where steps have no name."""
        if not self.unit:
            return f"{self.title} {self._number(self.done)}/{self._number(self.total)}"
        return f"{self.unit} {min(self.done + 1, self.total):.0f}/{self._number(self.total)}"

    def _number(self, value: float) -> str:
        """Fractions of few steps, such as epochs; whole numbers of many."""
        return f"{value:.3g}" if self.total < MANY else f"{value:.0f}"


class Lines:
    """Decides when the next line about progress is due."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def due(self, seconds: float) -> bool:
        """Whether a line is due; `seconds` is how long the job has run."""
        now = time.monotonic()
        wait = max(LINE_SECONDS, min(MOST_LINE_SECONDS, LINE_SHARE * seconds))
        if seconds < LINE_SECONDS or now - self.last < wait:
            return False
        self.last = now
        return True
