"""How many different architectures the controller proposes to threads that ask at one moment.

python benchmarks/parallel_asks.py --jobs 4 --trials 60
"""

from __future__ import annotations

import argparse
import time

import optuna
from command_line import a_count, in_one_line

from kdnas.study.samplers import SurrogateSampler


def objective(trial: optuna.Trial) -> float:
    first, second = trial.suggest_int("first", 0, 9), trial.suggest_int("second", 0, 9)
    third = trial.suggest_categorical("third", ["a", "bb", "ccc", "dddd"])
    time.sleep(0.05)
    return (first - 7) ** 2 + (second - 2) ** 2 + len(third)


@in_one_line()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=a_count, default=4)
    parser.add_argument("--trials", type=a_count, default=60)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=SurrogateSampler(args.seed, n_trials=args.trials))
    study.optimize(objective, n_trials=args.trials, n_jobs=args.jobs)
    distinct = {tuple(sorted(trial.params.items())) for trial in study.trials}
    print(f"{len(distinct)} distinct of {len(study.trials)} trials by {args.jobs} threads")


if __name__ == "__main__":
    main()
