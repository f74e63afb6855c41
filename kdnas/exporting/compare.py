"""Models side by side, timed in turn in one run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kdnas.config import Settings
from kdnas.measure import LatencySettings, Timed, take_turns
from kdnas.runtime.console import say

# (batch, length): beside what the run's latencies are for, a server's load.
THROUGHPUT = (32, 64)
# Passes of each model; fewer where one takes long.
REPEATS, FEW = 50, 7
MANY_TOKENS = 1024


@dataclass(frozen=True)
class Entry:
    """A model to compare.

    Attributes:
        who: `teacher` or `student`.
        runtime: `PyTorch`, `ONNX` or `int8`.
        timed: Where it runs.
        bytes: Of its weights on disk.
        scores: By metric; empty where unknown.
    """

    who: str
    runtime: str
    timed: Timed
    bytes: int
    scores: dict[str, float]

    def described(self, latency: list[dict[str, Any]]) -> dict[str, Any]:
        """As export.json holds it."""
        return {
            "model": self.who,
            "runtime": self.runtime,
            "bytes": self.bytes,
            "scores": {name: round(value, 5) for name, value in self.scores.items()},
            "latency": latency,
        }


def compared(entries: list[Entry], settings: Settings, longest: int) -> list[dict[str, Any]]:
    """Each entry with its medians and interquartile ranges in milliseconds, and its speed-ups.

    Speed-ups are against the first entry.

    Args:
        entries: The first is what the others are measured against.
        settings: Of the run.
        longest: Tokens that the models read at most.
    """
    points = {
        (batch, min(length, longest))
        for batch, length in ((settings.latency_batch, settings.latency_length), THROUGHPUT)
    }
    latencies: list[list[dict[str, Any]]] = [[] for _ in entries]
    for batch, length in sorted(points):
        say(f"timing {len(entries)} models in turn: {batch} x {length} tokens")
        repeats = REPEATS if batch * length <= MANY_TOKENS else FEW
        what = LatencySettings(batch, length, repeats, settings.latency_quiet)
        times = take_turns([entry.timed for entry in entries], what)
        low, middle, high = np.percentile(times, [25, 50, 75], axis=1)
        at = {"batch": batch, "length": length, "repeats": repeats}
        for known, ms, iqr in zip(latencies, middle, high - low, strict=True):
            found = {"ms": ms, "iqr_ms": iqr, "speedup": middle[0] / ms}
            known.append({**at, **{name: round(float(v), 3) for name, v in found.items()}})
    return [entry.described(known) for entry, known in zip(entries, latencies, strict=True)]
