"""What rungs and warm starts are worth: the product's own search loop, replayed on a table.

    python benchmarks/tabular/loop.py --table benchmarks/tabular/minilm.csv --seeds 50 --trials 20

Nothing is trained: losses after a third (two rungs), after a ninth and a third (three) and at the
end come from the table, each for its share of a whole training. Printed are the medians over seeds
of the per cent of students that are better than the best one found, or of the front's hypervolume
that is missing, after the whole budget. `--json` writes the entry `loop`.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from scipy.stats import spearmanr
from tables import OBJECTIVES, Table

from kdnas.config import Settings
from kdnas.runtime.console import manner
from kdnas.scoring.costs import Costs
from kdnas.scoring.evaluate import evaluate_candidate
from kdnas.scoring.limits import Limits
from kdnas.scoring.reward import reward
from kdnas.scoring.scorers import TableScorer
from kdnas.space import Candidate
from kdnas.space.known_shapes import known_shapes
from kdnas.study.optimize import optimize
from kdnas.study.pruner import SuccessiveHalvingPruner
from kdnas.study.samplers import make_sampler
from kdnas.study.study import evaluated
from kdnas.study.warm_start import WARM_START_SHARE

sys.path.append(str(Path(__file__).parents[1]))
from command_line import a_count, a_file, a_result, in_one_line, write_entry

ALPHAS = {"reward-0.06": -0.06, "reward-0.3": -0.3, "pareto": -0.06}
LOSSES = {1: "loss", 1 / 3: "loss_third", 1 / 9: "loss_ninth"}
TIMES = ("latency_ms", "latency_iqr_ms", "teacher_latency_ms", "speedup")


def search(
    table: Table, objective: str, sampler: str, rungs: int, warm: bool, trials: int, seed: int
) -> tuple[list[int], int]:
    """One search: rows of the whole trainings in their order, and how many students it saw."""
    pruner = SuccessiveHalvingPruner(rungs)
    study = optuna.create_study(
        directions=OBJECTIVES[objective](table).directions,
        sampler=make_sampler(sampler, table, seed, pruner.expected_candidates(trials)),
    )
    settings = Settings(
        trials=trials, rungs=rungs, objective="pareto" if objective == "pareto" else "reward"
    )
    if warm:
        for shape in known_shapes(table)[: trials // WARM_START_SHARE]:
            study.enqueue_trial(shape.params)
    evaluate = partial(
        evaluate_candidate,
        scorer=table_scorer(table),
        measure=lambda candidate: costs_of(table, candidate),
        limits=Limits(),
        reward=lambda score, costs: reward(1 - score, 1 / costs.speedup, 1.0, ALPHAS[objective]),
    )
    with tempfile.TemporaryDirectory() as folder, manner(quiet=True):
        optimize(study, table, evaluate, settings, Path(folder), lambda *_, **__: None)
    rows = [table.rows[table.candidate(t.params)] for t in evaluated(study)]
    seen = {table.candidate(t.params) for t in study.trials if t.params}
    return rows, len(seen)


def costs_of(table: Table, candidate: Candidate) -> Costs:
    """A row's costs."""
    row = table.frame.iloc[table.rows[candidate]]
    times: dict[str, Any] = {name: float(row[name]) for name in TIMES}
    return Costs(int(row.params), int(row.macs), **times)


def table_scorer(table: Table) -> TableScorer:
    """Scores candidates by their row, nothing is trained."""
    columns = {share: table.frame[name] for share, name in LOSSES.items()}
    return TableScorer(
        {
            candidate.key: {share: 1 - float(losses[row]) for share, losses in columns.items()}
            for candidate, row in table.rows.items()
        }
    )


@in_one_line()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=a_file, required=True)
    parser.add_argument("--samplers", nargs="+", default=["random", "tpe"])
    parser.add_argument("--seeds", type=a_count, default=50)
    parser.add_argument("--trials", type=a_count, default=20, help="Whole trainings of a search.")
    parser.add_argument("--json", type=a_result)
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    table, found = Table(args.table), []
    for alpha in sorted(set(ALPHAS.values())):
        print(f"rank correlation with the end, alpha {alpha}: {_rank_correlations(table, alpha)}")
    print(f"error of the predicted loss at the end: {_prediction_errors(table)}")
    print("| objective | sampler | rungs | warm start | median [quartiles] | students seen |")
    print("|---|---|---|---|---|---|")
    for objective, sampler, rungs, warm in _cases(args.samplers):
        ends, seen = [], []
        for seed in range(args.seeds):
            rows, count = search(table, objective, sampler, rungs, warm, args.trials, seed)
            ends.append(float(OBJECTIVES[objective](table).course(rows)[-1]))
            seen.append(count)
        low, middle, high = np.quantile(ends, [0.25, 0.5, 0.75])
        cell = f"{middle:.2f} [{low:.2f}, {high:.2f}]"
        print(
            f"| {objective} | {sampler} | {rungs} | {'yes' if warm else 'no'} | {cell} "
            f"| {np.median(seen):.0f} |",
            flush=True,
        )
        case = {"objective": objective, "sampler": sampler, "rungs": rungs, "warm_start": warm}
        found.append({**case, "ends": ends, "seen": seen})
    if args.json:
        write_entry(args.json, "loop", {"cases": found})


def _rank_correlations(table: Table, alpha: float) -> dict[str, float]:
    """Spearman's rho of each rung's rewards with those of a whole training."""
    rewards = {
        name: [
            reward(loss, cost, 1.0, alpha)
            for loss, cost in zip(table.frame[name], table.costs, strict=True)
        ]
        for name in LOSSES.values()
    }
    whole = rewards["loss"]
    return {n: round(float(spearmanr(r, whole).statistic), 2) for n, r in rewards.items()}


def _prediction_errors(table: Table) -> dict[str, float]:
    """Root mean squared error of the final loss predicted from earlier ones.

    The sampler shifts each rung by one difference for all (`settle`). A power law through a
    student's own two points, with the exponent that suits all students best, extrapolates each.
    """
    ninth, third, whole = (
        table.frame[name].to_numpy(float) for name in ("loss_ninth", "loss_third", "loss")
    )
    fallen = ninth - third
    ratio = float((third - whole) @ fallen / (fallen @ fallen))
    errors = {
        "a ninth, shifted": whole - ninth - (whole - ninth).mean(),
        "a third, shifted": whole - third - (whole - third).mean(),
        "power law through both": whole - third + ratio * fallen,
    }
    return {name: round(float(np.sqrt(np.square(e).mean())), 4) for name, e in errors.items()}


def _cases(samplers: list[str]) -> Iterator[tuple[str, str, int, bool]]:
    for objective, sampler in itertools.product(ALPHAS, samplers):
        yield from ((objective, sampler, rungs, False) for rungs in (1, 2, 3))
        yield objective, sampler, 1, True


if __name__ == "__main__":
    main()
