"""How many passes are timed, by a clock that models move on as they are told."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from kdnas.measure.latency import (
    FIRST_LOOK,
    NEXT_LOOK,
    WARM_UP,
    Latency,
    LatencySettings,
    measure_latencies,
)

PASSES = LatencySettings(repeats=30, quiet=False)
PRECISE = replace(PASSES, precision=0.015)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Scripted:
    """A model whose passes take `ms`, give or take a share `noise` of it."""

    clock: Clock
    ms: float
    noise: float = 0.0
    passes: int = 0
    rng: random.Random = field(default_factory=lambda: random.Random(0))

    def ready(self, batch: int, length: int) -> Callable[[], None]:
        def once() -> None:
            self.passes += 1
            self.clock.now += self.ms / 1000 * (1 + self.rng.uniform(-self.noise, self.noise))

        return once


def timed(
    settings: LatencySettings, *speedups: float, noise: float = 0.0, least: tuple[float, ...] = ()
) -> tuple[list[Latency], int]:
    """Latencies of students so many times as fast as their teacher, and how often each passed."""
    clock = Clock()
    teacher = Scripted(clock, 40, noise)
    students = [Scripted(clock, 40 / speedup, noise) for speedup in speedups]
    found = measure_latencies(students, teacher, settings, clock, least)
    assert all(one.passes == teacher.passes for one in students)
    return found, teacher.passes - WARM_UP


def test_what_is_known_needs_no_further_passes() -> None:
    [found], passes = timed(PRECISE, 4.0)
    assert passes == FIRST_LOOK
    assert found.speedup == pytest.approx(4.0)


def test_precision_decides_how_many_passes_there_are() -> None:
    # Quartiles of times that are spread evenly are as far apart as `noise`.
    assert timed(PRECISE, 4.0, noise=0.2)[1] == 30
    few = timed(PRECISE, 4.0, noise=0.07)[1]
    assert FIRST_LOOK < few < 30 and (few - FIRST_LOOK) % NEXT_LOOK == 0
    assert timed(PASSES, 4.0)[1] == 30


def test_of_several_all_must_be_known() -> None:
    clock = Clock()
    calm, noisy = Scripted(clock, 10), Scripted(clock, 10, 0.2)
    measure_latencies([calm, noisy], Scripted(clock, 40), PRECISE, clock)
    assert calm.passes == noisy.passes == WARM_UP + 30


def test_what_surely_misses_needs_no_precision() -> None:
    [found], passes = timed(PRECISE, 2.0, noise=0.2, least=(3.6,))
    assert passes == FIRST_LOOK and found.speedup < 2.5
    assert timed(PRECISE, 3.5, noise=0.2, least=(3.6,))[1] == 30
    assert timed(PASSES, 2.0, noise=0.2, least=(3.6,))[1] == FIRST_LOOK


def test_golden_error() -> None:
    latency = Latency(10.0, 40.0, (9.5, 10.5), (40.0, 40.0))
    assert latency.error(25) == pytest.approx(1.25 / 1.35 * 0.1 / 5)
    both = replace(latency, teacher_quartiles_ms=(38.0, 42.0))
    assert both.error(25) == pytest.approx(1.25 / 1.35 * 0.1 * 2**0.5 / 5)
