"""What timing a candidate takes, and how well its speed-up is then known.

    python benchmarks/timing.py --threads 1 --json timing.json

Times each of some shapes beside MiniLM several times: with all passes (`--latency-repeats`), and
with passes that end once the speed-up is known to a standard error of `PRECISE`, or that it surely
misses `--speedup`. Prints seconds and passes a timing, and the standard deviation of repeated
timings of one shape, as a share of its speed-up: the median over the shapes that reach
`JUST_MISSED` of `--speedup` with all passes, for both ways; None where no shape does, or each is
timed once. `--json` writes the entry `timing`.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from command_line import a_count, a_result, above_0, in_one_line, write_entry

from kdnas.config import validated
from kdnas.measure import LatencySettings, measure_latencies
from kdnas.measure.latency import WARM_UP, Pass, Timed
from kdnas.runtime.device import start_runtime
from kdnas.scoring.costs import JUST_MISSED, CostMeter
from kdnas.space import Architecture, Candidate
from kdnas.tasks import load_spec
from kdnas.teachers.load import load_teacher, teacher_source

SHAPES = [
    Architecture(depth, 12, width, neurons, "gelu")
    for depth, width, neurons in itertools.product((2, 3, 4), (144, 240), (384, 768))
]


@dataclass
class Counted:
    """A model whose passes are counted."""

    model: Timed
    passes: int = 0

    def ready(self, batch: int, length: int) -> Pass:
        self.passes += 1
        return self.model.ready(batch, length)


@dataclass
class Timings:
    """Of one way: seconds and passes of each timing, and speed-ups by shape."""

    seconds: list[float] = field(default_factory=list)
    passes: list[int] = field(default_factory=list)
    speedups: list[list[float]] = field(default_factory=list)

    @property
    def medians(self) -> list[float]:
        """Each shape's speed-up."""
        return [float(np.exp(np.median(np.log(each)))) for each in self.speedups]


@in_one_line()
def main() -> None:
    """Prints a line for each way of timing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=a_count)
    parser.add_argument("--turns", type=a_count, default=5, help="Timings of each shape.")
    parser.add_argument("--speedup", type=above_0, default=4.0)
    parser.add_argument("--length", type=a_count, default=128)
    parser.add_argument("--json", type=a_result)
    args = parser.parse_args()
    settings = validated({"latency_length": args.length, "speedup": args.speedup})
    start_runtime(threads=args.threads)
    teacher = load_teacher(teacher_source(None), load_spec("sst2")).model
    meter, least = CostMeter(teacher, settings), JUST_MISSED * args.speedup
    until_known = meter._timing(1)
    every = timed(meter, replace(until_known, precision=0.0), 0.0, args.turns)
    fewer = timed(meter, until_known, least, args.turns)
    reach = [speedup >= least for speedup in every.medians]
    found = {"all passes": summary(every, reach), "until known": summary(fewer, reach)}
    for name, figures in found.items():
        print(name, figures)
    if args.json:
        write_entry(args.json, "timing", found)


def timed(meter: CostMeter, settings: LatencySettings, least: float, turns: int) -> Timings:
    """Times each shape so many times; of one surely below `least`, passes end early."""
    found = Timings()
    for shape in SHAPES:
        student = Counted(meter.timed(meter.untrained(Candidate(shape))))
        found.speedups.append([])
        for _ in range(turns):
            before, start = student.passes, time.perf_counter()
            [one] = measure_latencies([student], meter.timed_teacher, settings, least=[least])
            found.seconds.append(time.perf_counter() - start)
            found.passes.append(student.passes - before - WARM_UP)
            found.speedups[-1].append(one.speedup)
    return found


def summary(timings: Timings, reach: Sequence[bool]) -> dict[str, Any]:
    """Means over timings, and the median spread of those shapes that `reach` their speed-up."""
    near = [np.log(each) for each, one in zip(timings.speedups, reach, strict=True) if one]
    spreads = [np.std(each, ddof=1) for each in near if len(each) > 1]
    return {
        "seconds": round(float(np.mean(timings.seconds)), 2),
        "passes": round(float(np.mean(timings.passes)), 1),
        "spread": round(float(np.median(spreads)), 4) if spreads else None,
        "speedups": [round(speedup, 2) for speedup in timings.medians],
    }


if __name__ == "__main__":
    main()
