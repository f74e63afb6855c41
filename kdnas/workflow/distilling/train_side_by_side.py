"""Students that are trained in full side by side, each by a process with one thread."""

from __future__ import annotations

import heapq
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from kdnas.runs.context import Context
from kdnas.runtime.console import Advance, begin, drop, end, progress, say, watched
from kdnas.runtime.hand_out import Tell, hand_out
from kdnas.runtime.plan import Step
from kdnas.workflow.distilling.distil import FullTraining
from kdnas.workflow.preparing.count_jobs import count_jobs
from kdnas.workflow.preparing.prepare import Prepared

# Between two words from a training of how far it is.
EVERY_SECONDS = 1.0


def train_side_by_side(prepared: Prepared, trainings: Sequence[FullTraining]) -> None:
    """Does the trainings that are missing side by side, in their order, as far as that helps.

    What is left is the caller's: all of it on a GPU or with one job; the last training, where it
    would be alone; those that there may be no time for; and what a killed process worked on.

    Args:
        prepared: Of the run.
        trainings: Done or not; what teaches them is there.

    Raises:
        KdnasError: One of them failed.
    """
    context = prepared.context
    due = [one for one in trainings if not one.done(context.settings)]
    jobs = count_jobs(context, len(due), prepared.meter.teacher_params)
    if jobs < 2:
        return
    if _is_faster_alone(context, due, jobs):
        due.pop()
    if not _affords(context, due[0], jobs):
        return
    first = begin(due[0].step_name(context.run))
    try:
        # With all threads, and once: the processes share what is there.
        for one in {(each.candidate, each.distilled): each for each in due}.values():
            one.prepare(prepared)
        _hand_out(prepared, due, jobs)
    finally:
        drop(first)


def _is_faster_alone(context: Context, due: Sequence[FullTraining], jobs: int) -> bool:
    """Whether all is done earlier where the last one has all threads, after the others.

    Those whose time nobody knows are taken to be equally long.
    """
    names = [one.step_name(context.run) for one in due]
    times = context.time.times(names[0], jobs)
    alone = [context.time.expected(name) for name in names]
    if not all(alone):
        alone = [1.0] * len(due)
    each = [times * seconds for seconds in alone]
    return _until_all_end(each[:-1], jobs) + alone[-1] < _until_all_end(each, jobs)


def _until_all_end(seconds: Sequence[float], jobs: int) -> float:
    """Seconds until the last ends; each begins, in this order, as soon as a process is free."""
    ends = [0.0] * jobs
    for each in seconds:
        heapq.heapreplace(ends, ends[0] + each)
    return max(ends)


def _hand_out(prepared: Prepared, due: Sequence[FullTraining], jobs: int) -> None:
    """Lets processes do trainings for which all is prepared."""
    say(f"{jobs} students side by side, one thread each (--jobs)")
    with progress("students side by side", len(due)) as advance:
        shared = _Shared(prepared.context, due, jobs, advance)

        def do(number: int, tell: Tell) -> None:
            last = 0.0

            def watch(title: str, share: float) -> None:
                nonlocal last
                if time.monotonic() - last >= EVERY_SECONDS:
                    last = time.monotonic()
                    tell((title, share))

            with watched(watch):
                due[number].fill(prepared)

        try:
            hand_out(jobs, shared.take, do, shared.ended, shared.heard, shared.show)
        finally:
            shared.close()


def _affords(context: Context, one: FullTraining, jobs: int) -> bool:
    """Whether there is time for a training beside others."""
    return context.time.affords(one.step_name(context.run), jobs)


@dataclass
class _Shared:
    """What this process knows of the trainings that others do."""

    context: Context
    due: Sequence[FullTraining]
    jobs: int
    advance: Advance
    begun: int = 0
    done: int = 0
    running: dict[int, Step | None] = field(default_factory=dict)

    def take(self) -> int | None:
        """The next training; None where there is none, or no time for it."""
        number = self.begun
        if number == len(self.due) or not _affords(self.context, self.due[number], self.jobs):
            self.begun = len(self.due)  # those after it are not begun before it
            return None
        self.begun += 1
        self.running[number] = begin(self.due[number].step_name(self.context.run), self.jobs)
        return number

    def ended(self, number: int, _result: None) -> None:
        """A training has ended."""
        self.done += 1
        end(self.running.pop(number))

    def heard(self, number: int, news: tuple[str, float]) -> None:
        """How far a training is."""
        if step := self.running[number]:
            step.hear(*news)

    def show(self) -> None:
        """Shows how far all of them are."""
        shares = (step.share for step in self.running.values() if step)
        self.advance("", self.done + sum(shares))

    def close(self) -> None:
        """Leaves those that have not ended."""
        for step in self.running.values():
            drop(step)
