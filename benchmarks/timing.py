"""What timing a candidate takes, and how well its speed-up is then known.

    python benchmarks/timing.py --threads 1 --json timing.json

Times each of some shapes beside MiniLM several times: with all passes (`--latency-repeats`), and
with passes that end once the speed-up is known to a standard error of `PRECISE`, or that it surely
misses `--speedup`. Prints seconds and passes a timing, and the standard deviation of repeated
timings of one shape, as a share of its speed-up.
"""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from command_line import a_count, a_result, in_one_line

from kdnas.config import Settings
from kdnas.files.atomic import read_json, write_json
from kdnas.measure import measure_latencies
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


@in_one_line()
def main() -> None:
    """Prints a line for each way of timing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=a_count)
    parser.add_argument("--turns", type=a_count, default=5, help="Timings of each shape.")
    parser.add_argument("--speedup", type=float, default=4.0)
    parser.add_argument("--length", type=a_count, default=128)
    parser.add_argument("--json", type=a_result)
    args = parser.parse_args()
    start_runtime(threads=args.threads)
    teacher = load_teacher(teacher_source(None), load_spec("sst2")).model
    settings = Settings(latency_length=args.length, speedup=args.speedup)
    meter = CostMeter(teacher, settings)
    found = {name: timed(meter, name, args) for name in ("all passes", "until known")}
    if args.json:
        write_json(args.json, (read_json(args.json) or {}) | {"timing": found})


def timed(meter: CostMeter, name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Seconds and passes a timing, and the spread of the speed-ups of a shape, medians."""
    settings, least = meter._timing(1), [JUST_MISSED * args.speedup]
    if name == "all passes":
        settings, least = replace(settings, precision=0.0), [0.0]
    spent, passes, logs = list[float](), list[int](), list[list[float]]()
    for shape in SHAPES:
        student = Counted(meter.timed(meter.untrained(Candidate(shape))))
        logs.append([])
        for _ in range(args.turns):
            before, start = student.passes, time.perf_counter()
            [one] = measure_latencies([student], meter.timed_teacher, settings, least=least)
            spent.append(time.perf_counter() - start)
            passes.append(student.passes - before - WARM_UP)
            logs[-1].append(np.log(one.speedup))
    middle = np.exp([np.median(each) for each in logs])
    near = [np.std(each, ddof=1) for each, m in zip(logs, middle, strict=True) if m >= least[0]]
    result = {
        "seconds": round(float(np.mean(spent)), 2),
        "passes": round(float(np.mean(passes)), 1),
        "spread": round(float(np.median(near)), 4) if near else None,
        "speedups": [round(float(m), 2) for m in middle],
    }
    print(name, result, flush=True)
    return result


if __name__ == "__main__":
    main()
