"""How much faster a search is whose candidates are scored side by side.

    python benchmarks/side_by_side.py --json docs/results.json

The search of the embedded example (MiniLM on Rotten Tomatoes) is run with one job that has all
threads, and with one job a core, by turns, from one fine-tuned teacher. The sampler draws at
random, so that all see the same candidates. Prints seconds, candidates a minute, the ratio of the
medians, and the largest difference of a candidate's score.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import tests_path  # noqa: F401
from command_line import a_count, a_result, in_one_line, write_entry
from support.stepwise import Stepwise

from kdnas.config import Settings
from kdnas.config.read import read_yaml
from kdnas.runs.run_folder import Run
from kdnas.runtime.cores import usable_cores
from kdnas.study.study import evaluated
from kdnas.workflow.api import EMBEDDED


@in_one_line()
def main() -> None:
    args = _arguments()
    times: dict[int, list[float]] = {1: [], args.jobs: []}
    scores: dict[int, dict[str, float]] = {1: {}, args.jobs: {}}
    with tempfile.TemporaryDirectory() as name:
        os.environ["KDNAS_CACHE"] = f"{name}/cache"
        for turn in range(args.turns):
            order = sorted(times, reverse=bool(turn % 2))
            for jobs in order:
                seconds, found = _search(Path(name) / f"{turn}-{jobs}", jobs, args.trials)
                times[jobs].append(seconds)
                scores[jobs] |= found
                print(f"turn {turn + 1}, {jobs} jobs: {seconds:.1f} s", flush=True)
    found = _summary(times, scores, args)
    for key, value in found.items():
        print(f"{key}: {value}")
    if args.json:
        write_entry(args.json, "side-by-side", found)


def _search(folder: Path, jobs: int, trials: int) -> tuple[float, dict[str, float]]:
    """Seconds of the search alone, and losses by candidate."""
    changes = {"out": folder, "jobs": jobs, "trials": trials, "sampler": "random", "speedup": None}
    settings = Settings(**{**read_yaml(EMBEDDED), **changes, "warm_start": False})
    step = Stepwise(Run.create(settings))
    _ = step.prepared
    start = time.perf_counter()
    step.search()
    seconds = time.perf_counter() - start
    trained = evaluated(step.open_study())
    return seconds, {str(t.params): float(t.user_attrs["loss"]) for t in trained}


def _summary(
    times: dict[int, list[float]], scores: dict[int, dict[str, float]], args: argparse.Namespace
) -> dict[str, Any]:
    medians = {jobs: statistics.median(each) for jobs, each in times.items()}
    one, many = scores[1], scores[args.jobs]
    return {
        "trials": args.trials,
        "seconds": {str(jobs): [round(s, 1) for s in each] for jobs, each in times.items()},
        "candidates_a_minute": {
            str(jobs): round(60 * args.trials / median, 1) for jobs, median in medians.items()
        },
        "ratio": round(medians[1] / medians[args.jobs], 2),
        "largest_difference_of_a_loss": max(abs(one[k] - many[k]) for k in one.keys() & many),
        "jobs": args.jobs,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=a_count, default=12)
    parser.add_argument("--turns", type=a_count, default=3)
    parser.add_argument("--jobs", type=a_count, default=usable_cores())
    parser.add_argument("--json", type=a_result, help="Write the figures to this file.")
    return parser.parse_args()


if __name__ == "__main__":
    main()
