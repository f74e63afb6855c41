"""How many trials a second the storages carry when a trial costs nothing.

    python benchmarks/storages.py

The loop is the one of `kdnas worker`: ask, sign, admission, tell, signs of life. Only the
evaluation of candidates is replaced by nothing, and the sampler draws at random. Prints, for each
storage, the median trials a second of 1, 2 and 4 workers that start together, and their ratio to
1 worker.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from contextlib import ExitStack
from multiprocessing.synchronize import Barrier
from pathlib import Path

import tests_path  # noqa: F401
from command_line import a_count, in_one_line
from support.postgresql import PostgreSQL, own_postgresql
from support.processes import FORKS, Child

from kdnas.config import Settings
from kdnas.scoring.costs import Costs
from kdnas.scoring.evaluate import Evaluation
from kdnas.scoring.scorer import Budget, Score
from kdnas.space import Architecture, Candidate, SearchSpace
from kdnas.study.optimize import optimize
from kdnas.study.samplers import make_sampler
from kdnas.study.study import create_study, evaluated, load_run_study

STORAGES = ("sqlite", "journal", "postgresql")
TEACHER = Architecture(6, 8, 64, 64, "gelu")
SPACE = SearchSpace(
    TEACHER,
    {
        "num_hidden_layers": (1, 2, 3, 4, 5, 6),
        "num_attention_heads": (1, 2, 4, 8),
        "hidden_size": (16, 32, 48, 64),
        "intermediate_size": (16, 32, 48, 64),
        "hidden_act": ("gelu", "relu"),
    },
)


def evaluate(candidate: Candidate, budget: Budget, costs: Costs | None = None) -> Evaluation:
    """The same for all, at once."""
    return Evaluation(Costs(1, 1, 1.0, 0.0, 2.0, 2.0), {}, Score(0.5), 0.5, 0.0)


@in_one_line()
def main() -> None:
    args = _arguments()
    print(
        "| storage |",
        " | ".join(f"{n} workers" if n > 1 else "1 worker" for n in args.workers),
        "|",
    )
    print("|---" * (len(args.workers) + 1) + "|")
    with own_postgresql() as server:
        for kind in args.storages:
            rates = {n: _median(kind, n, server, args) for n in args.workers}
            one = rates[args.workers[0]]
            cells = (f"{rate:.1f} ({rate / one:.2f})" for rate in rates.values())
            print(f"| {kind} |", " | ".join(cells), "|", flush=True)


def _median(kind: str, workers: int, server: PostgreSQL, args: argparse.Namespace) -> float:
    return statistics.median(_rate(kind, workers, server, args) for _ in range(args.repeats))


def _rate(kind: str, workers: int, server: PostgreSQL, args: argparse.Namespace) -> float:
    """Trials a second of one study."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = {
            "sqlite": f"sqlite:///{folder}/study.db",
            "journal": f"journal://{folder}/study.log",
        }.get(kind) or server.database()
        create_study(url, "s", None, "reward", {})
        barrier = FORKS.Barrier(workers + 1)
        children = [Child(work, barrier, url, folder, args.trials) for _ in range(workers)]
        barrier.wait(300)
        start = time.perf_counter()
        for child in children:
            assert child.wait(900) == 0, child.output
        seconds = time.perf_counter() - start
        assert len(evaluated(load_run_study(url, "s", folder))) == args.trials
        return float(args.trials / seconds)


def work(barrier: Barrier, url: str, folder: Path, trials: int) -> None:
    """One worker."""
    study = create_study(url, "s", make_sampler("random", SPACE, 0, trials), "reward", {})
    barrier.wait(300)
    optimize(study, SPACE, evaluate, Settings(trials=trials), folder, lambda *_, **__: None)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=a_count, default=200)
    parser.add_argument("--repeats", type=a_count, default=3)
    parser.add_argument("--workers", type=a_count, nargs="*", default=[1, 2, 4])
    parser.add_argument("--storages", nargs="*", default=STORAGES, choices=STORAGES)
    return parser.parse_args()


if __name__ == "__main__":
    main()
