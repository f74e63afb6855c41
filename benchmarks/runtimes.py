"""How students rank by speed in eager PyTorch and in ONNX Runtime, at several batches and lengths.

Every student and the teacher, in both runtimes, take turns in one process, in an order that is
drawn anew each turn; figures are medians. Speed-ups are against the teacher in the same column.
With `--cpu-time`, one thread's processor time is taken instead of the wall clock: other work on the
machine makes a long pass wait, and a short one not. Example:

    python benchmarks/runtimes.py --cpu-time --json runtimes.json

`--json` writes the entry `runtimes`.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch
from command_line import a_count, a_result, in_one_line, write_entry
from scipy.stats import kendalltau
from setting import shaped

from kdnas.measure import LatencySettings, Timed, take_turns
from kdnas.measure.latency import Clock
from kdnas.measure.onnx import in_runtime, runtime_name
from kdnas.runtime.device import start_runtime
from kdnas.students import empty_student
from kdnas.tasks import load_spec
from kdnas.teachers.load import load_teacher, teacher_source

RUNTIMES = ("torch", "onnx")
POINTS = ((1, 50), (1, 128), (32, 64))
SHAPES = (
    *("6x384", "4x384", "3x384", "2x384", "6x240", "4x256"),
    *("6x192", "3x192", "2x192", "6x96", "3x128", "2x128"),
)


def medians(models: list[Timed], turns: int, clock: Clock) -> dict[tuple[int, int], np.ndarray]:
    """Milliseconds by (batch, length), shape (models,)."""
    found = {}
    for batch, length in POINTS:
        repeats = turns if batch == 1 else max(3, turns // 5)
        times = take_turns(models, LatencySettings(batch, length, repeats), clock)
        found[batch, length] = np.median(times, axis=1)
        print(f"{batch} x {length} tokens: {repeats} turns", flush=True)
    return found


def table(rows: list[str], columns: dict[str, np.ndarray], digits: int) -> str:
    """A Markdown table with a row a name."""
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for i, name in enumerate(rows):
        cells = (
            "-" if np.isnan(column[i]) else f"{column[i]:.{digits}f}" for column in columns.values()
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def agreement(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Kendall's tau between any two columns; NaN of a single row, which has no order."""

    def tau(one: np.ndarray, other: np.ndarray) -> float:
        return float(kendalltau(one, other).statistic) if len(one) > 1 else np.nan

    return {
        name: np.array([tau(column, other) for other in columns.values()])
        for name, column in columns.items()
    }


@in_one_line()
def main() -> None:
    """Prints speed-ups and how the columns agree; writes all medians with --json."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--shapes", nargs="+", default=SHAPES)
    parser.add_argument("--turns", type=a_count, default=50)
    parser.add_argument("--threads", type=a_count)
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--json", type=a_result)
    args = parser.parse_args()
    clock = time.thread_time if args.cpu_time else time.perf_counter
    start_runtime(threads=1 if args.cpu_time else args.threads, device="cpu")
    teacher = load_teacher(teacher_source(None), load_spec("sst2")).model
    torch.manual_seed(0)
    students = [empty_student(teacher.config, shaped(teacher.config, s)) for s in args.shapes]
    everyone = [teacher, *(student.eval() for student in students)]
    timed = [in_runtime(model, runtime) for runtime in RUNTIMES for model in everyone]
    found = medians(timed, args.turns, clock)
    columns, teachers = {}, {}
    for point, both in found.items():
        for runtime, ms in zip(RUNTIMES, np.split(both, len(RUNTIMES)), strict=True):
            name = f"{runtime} {point[0]} x {point[1]}"
            columns[name], teachers[name] = ms[0] / ms[1:], ms[:1]
    taus = agreement(columns)
    names = ", ".join(runtime_name(runtime) for runtime in RUNTIMES)
    print(
        f"\nspeed-up, {names}, {torch.get_num_threads()} thread(s), "
        f"{'processor' if args.cpu_time else 'wall'} time\n"
    )
    print(table(list(args.shapes), columns, 2))
    print(f"\nthe teacher's milliseconds\n\n{table(['teacher'], teachers, 1)}")
    print(f"\nKendall's tau between columns\n\n{table(list(columns), taus, 2)}")
    if args.json:
        kept = {
            name: dict(zip(args.shapes, c.tolist(), strict=True)) for name, c in columns.items()
        }
        whole: dict[str, Any] = {
            "speedup": kept,
            "teacher_ms": {k: float(v[0]) for k, v in teachers.items()},
        }
        whole |= {"runtimes": names, "threads": torch.get_num_threads()}
        write_entry(args.json, "runtimes", whole)


if __name__ == "__main__":
    main()
