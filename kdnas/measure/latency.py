"""Latency of a student beside its teacher.

Timings drift with whatever else the machine does, so student and teacher take turns, and the
figures are medians over the same stretch of time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdnas.measure.quiet import measuring
from kdnas.measure.timed import Timed

WARM_UP = 3
# Quartiles further apart than this share of the median: the machine was busy with something else.
CALM = 0.25

Clock = Callable[[], float]


@dataclass(frozen=True)
class LatencySettings:
    """What is timed.

    Attributes:
        batch: Examples a forward pass.
        length: Tokens an example.
        repeats: Forward passes of each model.
        quiet: Whether to wait until no other process of kdnas computes on this machine.
    """

    batch: int = 1
    length: int = 128
    repeats: int = 30
    quiet: bool = True


@dataclass(frozen=True)
class Latency:
    """Times of one forward pass in milliseconds: medians, and their spread.

    Attributes:
        student_ms: The student's median.
        teacher_ms: The teacher's.
        student_iqr_ms: How far the student's quartiles are apart.
        student_quartiles_ms: The lower and the upper one.
        teacher_quartiles_ms: The teacher's.
    """

    student_ms: float
    teacher_ms: float
    student_iqr_ms: float
    student_quartiles_ms: tuple[float, float]
    teacher_quartiles_ms: tuple[float, float]

    @property
    def speedup(self) -> float:
        """How many times as fast as the teacher."""
        return self.teacher_ms / self.student_ms

    @property
    def scatter(self) -> float:
        """How far quartiles are apart, as a share of the median; the worse of both models."""
        low, high = self.teacher_quartiles_ms
        return max(self.student_iqr_ms / self.student_ms, (high - low) / self.teacher_ms)


def measure_latency(
    student: Timed, teacher: Timed, settings: LatencySettings, clock: Clock = time.perf_counter
) -> Latency:
    """Times student and teacher in turn, each in the runtime that serves it.

    Where something else kept the machine busy meanwhile, so that the times scatter, it is done
    once more, and the calmer measurement counts.

    Args:
        student: In its runtime.
        teacher: In its own.
        settings: What is timed.
        clock: As `take_turns` takes it.
    """
    latency = _measured(student, teacher, settings, clock)
    if latency.scatter <= CALM:
        return latency
    again = _measured(student, teacher, settings, clock)
    return min(latency, again, key=lambda each: each.scatter)


def _measured(student: Timed, teacher: Timed, settings: LatencySettings, clock: Clock) -> Latency:
    (low, middle, high), (least, median, most) = (
        np.percentile(times, [25, 50, 75]).tolist()
        for times in take_turns([student, teacher], settings, clock)
    )
    return Latency(middle, median, high - low, (low, high), (least, most))


def take_turns(
    models: Sequence[Timed], settings: LatencySettings, clock: Clock = time.perf_counter
) -> NDArray[np.float64]:
    """Times models in turn: milliseconds a forward pass, shape (models, repeats).

    Their order is drawn anew each turn (always the same way), so that nothing that comes back
    regularly, such as the end of a time slice, meets the same model each time.

    Args:
        models: Each in its runtime.
        settings: What is timed.
        clock: In seconds; on a machine that others load, `time.thread_time` leaves out the time
            for which a single thread had to wait.
    """
    rng, order = random.Random(0), list(range(len(models)))
    times = np.empty((len(models), settings.repeats))
    with measuring(settings.quiet):
        for turn in range(-WARM_UP, settings.repeats):
            rng.shuffle(order)
            for i in order:
                spent = time_forward(models[i], settings, clock)
                if turn >= 0:
                    times[i, turn] = spent
    return times


def time_forward(
    model: Timed, settings: LatencySettings, clock: Clock = time.perf_counter
) -> float:
    """One forward pass over full-length examples, in milliseconds."""
    once = model.ready(settings.batch, settings.length)
    start = clock()
    once()
    return (clock() - start) * 1000
