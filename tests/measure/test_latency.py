"""How many passes are timed, by a clock that models move on as they are told."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

import pytest

from kdnas.measure.latency import (
    FEWEST_WRITTEN,
    FIRST_LOOK,
    NEXT_LOOK,
    WARM_UP,
    CellPasses,
    Latency,
    LatencySettings,
    cells_for,
    latency_grid,
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


@dataclass
class Growing(Scripted):
    """A model that takes `ms`, and `token_ms` more for each token."""

    token_ms: float = 0.0

    def ready(self, batch: int, length: int) -> Callable[[], None]:
        def once() -> None:
            self.passes += 1
            self.clock.now += (self.ms + self.token_ms * batch * length) / 1000

        return once


def grid_of(
    ms: float, token_ms: float, *, writes: bool, known: dict[tuple[int, int], Latency] | None = None
) -> tuple[dict[tuple[int, int], int], float]:
    """Passes that are timed by cell, and the seconds of all; the student is twice as fast."""
    clock = Clock()
    both = [Growing(clock, part * ms, token_ms=part * token_ms) for part in (1 / 3, 2 / 3)]
    cells, passes = cells_for(128, 1, 128), CellPasses.of(30, writes=writes)
    found = {cell: asdict(latency) for cell, latency in (known or {}).items()}
    grid = latency_grid(*both, cells, quiet=False, passes=passes, known=found, clock=clock)
    assert all(c["teacher_ms"] == pytest.approx(2 * c["student_ms"]) for c in grid if c["repeats"])
    return {(cell["batch"], cell["length"]): cell["repeats"] for cell in grid}, clock.now


def test_models_that_write_are_timed_in_every_cell() -> None:
    """One pass of both takes longer than all passes of an encoder's cell may."""
    timed, seconds = grid_of(3000, 1, writes=True)
    assert set(timed.values()) == {FEWEST_WRITTEN} and {(1, 16), (32, 128)} <= timed.keys()
    each = [3 + batch * length / 1000 for batch, length in timed]
    assert seconds == pytest.approx(sum(map(CellPasses.of(30, writes=True).seconds, each)))
    assert set(grid_of(60, 0, writes=True)[0].values()) == {5}  # a quarter of 20 passes


def test_cells_that_are_too_slow_are_left_out() -> None:
    timed, seconds = grid_of(100, 1, writes=False)  # eight passes of both in three seconds
    there = [cell for cell, passes in timed.items() if passes]
    assert there == [(1, 16), (1, 64), (1, 128), (8, 16)]
    assert seconds < 15
    assert not any(grid_of(11_000, 0, writes=True)[0].values())


def test_the_cell_that_all_is_timed_in_is_never_left_out() -> None:
    """Whatever else the machine does: its times are those of the student's own costs."""
    own = Latency(500.0, 1000.0, (400.0, 600.0), (900.0, 1100.0), 90)
    timed, _ = grid_of(1500, 0, writes=False, known={(1, 128): own})
    assert timed[1, 128] == 90 and sum(timed.values()) == 90
