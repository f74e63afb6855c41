"""Samplers side by side: the same teacher, task, proxy and budget, several seeds.

Each architecture is evaluated once, whoever proposes it, and kept in RUN/evaluated.jsonl; a second
call replays what is there. Example:

    python benchmarks/samplers.py RUN --samplers lstm tpe random --trials 12 --seeds 3
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import optuna

from kdnas.pipeline import Pipeline
from kdnas.run import Run
from kdnas.search.samplers import SAMPLERS, make_sampler
from kdnas.space import Architecture


class Table:
    """Rewards by architecture, measured when they are first asked for."""

    def __init__(self, pipeline: Pipeline, path: Path) -> None:
        self.pipeline = pipeline
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        rows = [json.loads(line) for line in lines]
        self.rewards = {Architecture(**row["architecture"]): row["reward"] for row in rows}

    def reward(self, architecture: Architecture) -> float:
        """The reward of mini-KD."""
        if architecture not in self.rewards:
            outcome = self.pipeline.evaluator.evaluate(architecture)
            row = {"architecture": architecture.params, **outcome.attributes}
            with self.path.open("a") as file:
                file.write(json.dumps(row) + "\n")
            self.rewards[architecture] = row["reward"]
        return float(self.rewards[architecture])


def best_so_far(name: str, seed: int, trials: int, table: Table) -> list[float]:
    """The best reward after each trial of one search."""
    space = table.pipeline.space
    sampler = make_sampler(name, space, seed, trials)
    study = optuna.create_study(sampler=sampler, direction="maximize")
    best: list[float] = []
    for _ in range(trials):
        trial = study.ask(space.distributions)
        value = table.reward(Architecture.from_params(trial.params))
        study.tell(trial, value)
        best.append(max([value, *best[-1:]]))
    return best


def main() -> None:
    """Prints the table and, with --json, writes it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="A run folder: its teacher, task and settings.")
    parser.add_argument("--samplers", nargs="+", default=sorted(SAMPLERS))
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pipeline = Pipeline(Run.open(arguments.run))
    table = Table(pipeline, arguments.run / "evaluated.jsonl")
    runs = {
        name: [best_so_far(name, seed, arguments.trials, table) for seed in range(arguments.seeds)]
        for name in arguments.samplers
    }
    print(f"| sampler | best reward after {arguments.trials} trials, by seed | median | at half |")
    print("|---|---|---|---|")
    half = arguments.trials // 2 - 1
    for name, curves in runs.items():
        last = [curve[-1] for curve in curves]
        middle = statistics.median(curve[half] for curve in curves)
        seeds = ", ".join(f"{value:.4f}" for value in last)
        print(f"| {name} | {seeds} | {statistics.median(last):.4f} | {middle:.4f} |")
    print(f"{len(table.rewards)} architectures evaluated in all")
    if arguments.json:
        arguments.json.write_text(json.dumps(runs, indent=2))


if __name__ == "__main__":
    main()
