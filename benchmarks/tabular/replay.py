"""Replays searches on a table of evaluated students: no training, many seeds.

    python benchmarks/tabular/replay.py --table minilm.csv --json out.json --html out.html

Samplers propose as they do in a search; loss and latency come from the table. Every finished search
is kept in OUT.jsonl, so that the command can be stopped and repeated; `--part 0/2` and `--part 1/2`
share the work between two processes. Figures are of the searches that are asked for, as far as they
are done. Delete that file when a sampler has changed. With `--picks` a
search begins, as kdnas's own do, with shapes that a person would pick. `--json` writes the entry
`replay`.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import torch
from curves import plot
from optuna.study import Study
from optuna.trial import TrialState
from predecessor_sampler import NAME, make_compared
from summary import RANDOM_TIMES, summarise, to_markdown
from tables import OBJECTIVES, Objective, Table, with_students

from kdnas.errors import KdnasError
from kdnas.files.atomic import append_line
from kdnas.files.lines import json_lines
from kdnas.space import Candidate
from kdnas.study.samplers import SAMPLERS

sys.path.append(str(Path(__file__).parents[1]))
from command_line import a_count, a_file, a_part, a_result, in_one_line, write_entry

COMPARED = ("random", "qmc", "nsga2", "tpe", "gp", NAME, "lstm")
MOST_ASKED = 6
# What a search is made of, beside its result.
KEY = ("table", "sampler", "objective", "seed", "trials", "picks")


def replay(
    sampler: str,
    table: Table,
    objective: Objective,
    seed: int,
    trials: int,
    begin: Callable[[Study], object] = lambda study: None,
) -> dict[str, Any]:
    """One search; `begin` takes its study before the first trial.

    Returns:
        Rows in the order of their evaluation, how many infeasible students had been proposed before
        each, and the mean seconds of a proposal.
    """
    study = optuna.create_study(
        directions=objective.directions, sampler=make_compared(sampler, table, seed, trials)
    )
    begin(study)
    rows: list[int] = []
    infeasible: list[int] = []
    refused, seconds = 0, 0.0
    while len(rows) < trials and len(study.trials) < min(MOST_ASKED * trials, len(table.rows)):
        start = time.perf_counter()
        trial = study.ask(table.distributions)
        seconds += time.perf_counter() - start
        row = table.rows[table.candidate(trial.params)]
        if objective.excess is not None:
            trial.set_constraint("speedup", float(objective.excess[row]))
        if not objective.feasible(row):
            study.tell(trial, state=TrialState.PRUNED)
            refused += 1
            continue
        study.tell(trial, objective.values[row].tolist())
        rows.append(row)
        infeasible.append(refused)
    return {"rows": rows, "infeasible": infeasible, "seconds": seconds / len(study.trials)}


def _enqueue(picks: Sequence[Candidate], study: Study) -> None:
    for candidate in picks:
        study.enqueue_trial(candidate.params)


@in_one_line()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--table", type=a_file, required=True, help="CSV of benchmarks/tabular/make.py."
    )
    parser.add_argument(
        "--samplers", nargs="+", default=list(COMPARED), choices=sorted({*SAMPLERS, NAME})
    )
    parser.add_argument("--objectives", nargs="+", default=list(OBJECTIVES), choices=OBJECTIVES)
    parser.add_argument("--seeds", type=a_count, default=50)
    parser.add_argument("--trials", type=a_count, default=40, help="Evaluations of a search.")
    parser.add_argument(
        "--picks", type=int, default=0, help="Begin with so many shapes that a person would pick."
    )
    parser.add_argument(
        "--part", type=a_part, default="0/1", help="I/N: every N-th search, from the I-th on."
    )
    parser.add_argument(
        "--json", type=a_result, required=True, help="Figures; searches in OUT.jsonl."
    )
    parser.add_argument("--html", type=a_result, help="Curves.")
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    table = Table(args.table)
    objectives = with_students(table, args.objectives)
    if not objectives:
        raise KdnasError(f"nothing to search on {args.table}; give other --objectives")
    asked = list(keys(objectives, args))
    part, parts = args.part
    file = args.json.with_suffix(".jsonl")
    for key in asked[part::parts]:
        if not done(file, [key]):
            goal = OBJECTIVES[key["objective"]](table)
            begin = partial(_enqueue, table.picks(goal, args.picks))
            found = replay(key["sampler"], table, goal, key["seed"], key["trials"], begin)
            append_line(file, json.dumps(key | found))
    searches = done(file, asked)
    summary = summarise(searches, table, objectives, args.samplers, args.trials)
    write_entry(args.json, "replay", summary)
    print(to_markdown(summary))
    if args.html:
        plot(searches, table, objectives, args.samplers, args.trials, args.html)


def keys(objectives: Sequence[str], args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What names each search that is asked for."""
    digest = hashlib.sha256(args.table.read_bytes()).hexdigest()[:12]
    # Seeds outermost: a run that was stopped has something of every sampler.
    wanted = itertools.product(range(args.seeds), objectives, args.samplers)
    for seed, objective, sampler in wanted:
        trials = args.trials * (RANDOM_TIMES if sampler == "random" else 1)
        key = {"table": digest, "sampler": sampler, "objective": objective, "seed": seed}
        yield key | {"trials": trials} | ({"picks": args.picks} if args.picks else {})


def done(file: Path, asked: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The searches in a file that are asked for, each once; those of other options are left out."""
    found = {_identity(search): search for search in read(file)}
    return [found[_identity(key)] for key in asked if _identity(key) in found]


def _identity(search: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(map(search.get, KEY))


def read(file: Path) -> list[dict[str, Any]]:
    """The searches in a file, but for what a kill cut short."""
    return [*json_lines(file)]


if __name__ == "__main__":
    main()
