"""Latency by batch size and length: what a student gains elsewhere than where it was searched."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kdnas.measure.latency import WARM_UP, LatencySettings, measure_latency, time_forward
from kdnas.measure.timed import Timed

BATCHES = (1, 8, 32)
LENGTHS = (16, 64, 128)
# A cell takes at most so long; one in which not even the fewest passes fit is left out.
CELL_SECONDS = 3.0
FEWEST, MOST = 5, 20


def cells_for(longest: int, batch: int, length: int) -> list[tuple[int, int]]:
    """(batch, length) of each cell, from the fewest tokens on.

    Args:
        longest: Tokens that the model reads at most.
        batch: That the search timed; it is among them.
        length: The same.
    """
    lengths = {min(n, longest) for n in (*LENGTHS, length)}
    return sorted(
        ((b, n) for b in {*BATCHES, batch} for n in lengths),
        key=lambda cell: (cell[0] * cell[1], cell),
    )


def latency_grid(
    student: Timed,
    teacher: Timed,
    cells: Iterable[tuple[int, int]],
    quiet: bool,
    seconds: float = CELL_SECONDS,
) -> list[dict[str, Any]]:
    """Times student and teacher in turn in each cell: medians and quartiles in milliseconds.

    Args:
        student: In the runtime that serves it.
        teacher: Likewise.
        cells: (batch, length), ascending by their tokens.
        quiet: Whether to wait until no other process of kdnas computes.
        seconds: A cell may take; slower ones have no times (`repeats` is 0).
    """
    grid, pace = [], 0.0
    for batch, length in cells:
        cell: dict[str, Any] = {"batch": batch, "length": length, "repeats": 0}
        grid.append(cell)
        tokens = batch * length
        if pace * tokens * (WARM_UP + FEWEST) > seconds:
            continue
        once = LatencySettings(batch, length)
        spent = (time_forward(student, once) + time_forward(teacher, once)) / 1000
        fitting = int(seconds / spent) - WARM_UP
        pace = spent / tokens
        if fitting < FEWEST:
            continue
        repeats = min(MOST, fitting)
        latency = measure_latency(student, teacher, LatencySettings(batch, length, repeats, quiet))
        pace = (latency.student_ms + latency.teacher_ms) / 1000 / tokens
        cell |= {
            "repeats": repeats,
            "student_ms": latency.student_ms,
            "student_quartiles_ms": list(latency.student_quartiles_ms),
            "teacher_ms": latency.teacher_ms,
            "teacher_quartiles_ms": list(latency.teacher_quartiles_ms),
        }
    return grid
