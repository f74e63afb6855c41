"""Models side by side, timed in turn in one run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kdnas.measure import LatencySettings, Timed, take_turns
from kdnas.runtime.console import say

# Passes of each model; fewer where one takes long.
REPEATS, FEW = 50, 7
MANY_TOKENS = 1024


@dataclass(frozen=True)
class Entry:
    """A model to compare.

    Attributes:
        who: `teacher` or `student`.
        runtime: `PyTorch`, `ONNX` or `int8`.
        timed: The model, ready to be timed.
        bytes: Of its weights on disk.
        scores: By metric; empty where unknown.
    """

    who: str
    runtime: str
    timed: Timed
    bytes: int
    scores: dict[str, float]

    def described(self, latency: list[dict[str, Any]]) -> dict[str, Any]:
        """The entry as export.json holds it."""
        return {
            "model": self.who,
            "runtime": self.runtime,
            "bytes": self.bytes,
            "scores": {name: round(value, 5) for name, value in self.scores.items()},
            "latency": latency,
        }


def compare(
    entries: Sequence[Entry], points: Iterable[tuple[int, int]], *, quiet: bool
) -> list[dict[str, Any]]:
    """Each entry with medians and interquartile ranges in ms, and its speed-ups.

    Args:
        entries: Speed-ups are against the first.
        points: (batch, length) to time at; none for no timing.
        quiet: Whether other kdnas processes pause meanwhile.
    """
    latencies: list[list[dict[str, Any]]] = [[] for _ in entries]
    for batch, length in sorted(set(points)):
        say(f"timing {len(entries)} models in turn: {batch} x {length} tokens")
        repeats = REPEATS if batch * length <= MANY_TOKENS else FEW
        what = LatencySettings(batch, length, repeats, quiet)
        times = take_turns([entry.timed for entry in entries], what)
        low, middle, high = np.percentile(times, [25, 50, 75], axis=1)
        at = {"batch": batch, "length": length, "repeats": repeats}
        for known, ms, iqr in zip(latencies, middle, high - low, strict=True):
            found = {"ms": ms, "iqr_ms": iqr, "speedup": middle[0] / ms}
            known.append({**at, **{name: round(float(v), 3) for name, v in found.items()}})
    return [entry.described(known) for entry, known in zip(entries, latencies, strict=True)]
