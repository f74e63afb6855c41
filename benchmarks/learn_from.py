"""What earlier studies are worth to a search: replays on tables, each time one table is left out.

    python benchmarks/learn_from.py --out runs/learn-from --json docs/results.json

A search on one table learns from a study of some random students of each other table (--earlier),
whose teachers and tasks are others. Beside it runs the same search without them. Printed are the
evaluations until a search has found one of the best one per cent of the students, medians over
seeds, and the p-value of Wilcoxon's signed-rank test on the pairs. Each search is a line of
OUT/searches.jsonl, so that the command can be stopped and repeated; figures are of the searches
that are asked for, on these tables as they are now. `--json` writes the entry
`learn-from` in place of the file's: its searches, on all tables, are one experiment.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from command_line import a_count, a_file, a_result, in_one_line, this_command
from optuna.study import Study
from optuna.trial import FrozenTrial, create_trial
from scipy.stats import wilcoxon

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.files.atomic import append_line, read_json, write_json
from kdnas.study.attributes import LESSONS
from kdnas.study.lessons import MOST, EarlierStudy, make_lessons
from kdnas.study.samplers import SAMPLERS
from kdnas.study.warm_start import first_lessons
from kdnas.teachers.cache import hash_of

sys.path.append(str(Path(__file__).with_name("tabular")))
from predecessor_sampler import NAME as PREDECESSOR
from replay import read, replay
from summary import arrival
from tables import OBJECTIVES, SPEEDUP, Table, with_students

TABULAR = Path(__file__).with_name("tabular")
SETTINGS: dict[str, dict[str, Any]] = {
    "reward-0.06": {"alpha": -0.06},
    "reward-0.3": {"alpha": -0.3},
    f"speedup{SPEEDUP:g}": {"speedup": SPEEDUP},
    "pareto": {"objective": "pareto"},
}
NAMES = sorted({*SAMPLERS, PREDECESSOR})
# What a search is made of, beside its result.
KEY = ("table", "objective", "sampler", "seed", "learns", "trials", "earlier", "reads")


@in_one_line()
def main() -> None:
    """Replays what is missing; prints a table, writes the entry."""
    args = _arguments()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    tables = tables_in(args)
    args.out.mkdir(parents=True, exist_ok=True)
    searched = {
        name: with_students(table, args.objectives)
        for name, table in tables.items()
        if not args.search or name in args.search
    }
    file = args.out / "searches.jsonl"
    asked = list(keys(tables, searched, args))
    done = {_identity(line): line for line in read(file)}
    for key in asked:
        if _identity(key) not in done:
            name = key["table"]
            given = [one for other, one in tables.items() if key["learns"] and other != name]
            found = _search(
                tables[name], given, key["objective"], key["sampler"], key["seed"], args
            )
            done[_identity(key)] = key | found
            append_line(file, json.dumps(key | found))
    rows = figures([done[_identity(key)] for key in asked], list(searched), args)
    print("\n".join(lines(rows)))
    if args.json:
        whole = read_json(args.json) or {}
        entry = {"rows": rows, "seeds": args.seeds, "command": this_command()}
        whole["learn-from"] = entry
        write_json(args.json, whole)


def tables_in(args: argparse.Namespace) -> dict[str, Table]:
    """The tables by name.

    Raises:
        KdnasError: One is none, there is nothing to learn from, or none that is to be searched.
    """
    if twice := [name for name, times in Counter(f.stem for f in args.tables).items() if times > 1]:
        raise KdnasError(f"--tables has two tables called {twice[0]!r}; leave out or rename one")
    tables = {file.stem: Table(file) for file in args.tables}
    if len(tables) < 2:
        raise KdnasError(f"--tables {args.tables[0]} has no other to learn from; give two or more")
    if unknown := [name for name in args.search or () if name not in tables]:
        raise KdnasError(f"--search {unknown[0]} is not in --tables, which has {', '.join(tables)}")
    return tables


def keys(
    tables: Mapping[str, Table], searched: Mapping[str, Sequence[str]], args: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """What names each search that is asked for; the rows of the tables that it reads, too."""
    digests = {name: sha256(table.file.read_bytes()).hexdigest() for name, table in tables.items()}
    for seed, (name, objectives) in itertools.product(range(args.seeds), searched.items()):
        others = [digest for other, digest in digests.items() if other != name]
        for objective, sampler in itertools.product(objectives, args.samplers):
            for learns in (False, True):
                reads = hash_of([digests[name], *(others if learns else ())])[:12]
                yield {
                    **{"table": name, "objective": objective, "sampler": sampler, "seed": seed},
                    **{"learns": learns, "trials": args.trials, "earlier": args.earlier},
                    "reads": reads,
                }


def _identity(search: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(map(search.get, KEY))


def _search(
    table: Table,
    others: Sequence[Table],
    objective: str,
    sampler: str,
    seed: int,
    args: argparse.Namespace,
) -> dict[str, Any]:
    """One search, after studies of other tables."""
    settings = Settings(**SETTINGS[objective])

    def begin(study: Study) -> None:
        share = MOST // max(1, len(others))
        lessons = [
            lesson
            for number, other in enumerate(others)
            for lesson in make_lessons(
                earlier_study(other, args.earlier, seed), table, settings, share, number
            )
        ]
        if lessons:
            study.set_user_attr(LESSONS, lessons)
            if sampler != "lstm":
                for candidate in first_lessons(study, table, args.trials):
                    study.enqueue_trial(table.params(candidate))

    found = replay(sampler, table, OBJECTIVES[objective](table), seed, args.trials, begin)
    course = OBJECTIVES[objective](table).course(found["rows"])
    reached = arrival(course, OBJECTIVES[objective](table).goal)
    return {"reached": reached, "after": float(course[min(9, len(course) - 1)])}


def earlier_study(table: Table, count: int, seed: int) -> EarlierStudy:
    """A study that scored so many students of a table, drawn at random."""
    drawn = np.random.default_rng(seed).permutation(len(table.rows))[:count]
    candidates = {row: candidate for candidate, row in table.rows.items()}

    def trial(row: int) -> FrozenTrial:
        known = {"loss": float(table.losses[row]), "speedup": float(1 / table.costs[row])}
        params = table.params(candidates[row])
        return create_trial(
            value=0.0, params=params, distributions=table.distributions, user_attrs=known
        )

    return EarlierStudy(table.teacher, [trial(int(row)) for row in drawn], Settings())


def figures(
    searches: Sequence[dict[str, Any]], tables: Sequence[str], args: argparse.Namespace
) -> list[dict[str, Any]]:
    """A row for each objective and sampler, over all tables and for each.

    Args:
        searches: Those that are asked for.
        tables: What they are on, by name.
        args: Has the objectives and samplers, in their order.
    """
    rows = []
    for objective in args.objectives:
        for sampler in args.samplers:
            for name in (None, *tables):
                own = [
                    one
                    for one in searches
                    if (one["objective"], one["sampler"]) == (objective, sampler)
                    and name in (None, one["table"])
                ]
                if own:
                    case = {"objective": objective, "sampler": sampler, "table": name or "all"}
                    rows.append({**case, **_paired(own)})
    return rows


def _paired(searches: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """With and without, by table and seed."""
    pairs: dict[tuple[str, int], dict[bool, dict[str, Any]]] = {}
    for one in searches:
        pairs.setdefault((one["table"], one["seed"]), {})[one["learns"]] = one
    whole = [(pair[False], pair[True]) for pair in pairs.values() if len(pair) == 2]
    without, with_ = (np.array([pair[i]["reached"] for pair in whole]) for i in (0, 1))
    same = bool((without == with_).all())
    return {
        "searches": len(whole),
        "without": float(np.median(without)),
        "with": float(np.median(with_)),
        "p": 1.0 if same else round(float(wilcoxon(without, with_).pvalue), 4),
        "better_after_10": {
            how: round(float(np.mean([pair[i]["after"] for pair in whole])), 2)
            for i, how in enumerate(("without", "with"))
        },
    }


def lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Markdown."""
    head = "objective | sampler | table | searches | without | with | p | after 10: without | with"
    found = [f"| {head} |", "|---" * 9 + "|"]
    for row in rows:
        after = row["better_after_10"]
        cells = [row[name] for name in ("objective", "sampler", "table", "searches")]
        cells += [f"{row['without']:g}", f"{row['with']:g}", row["p"]]
        found.append(f"| {' | '.join(map(str, [*cells, *after.values()]))} |")
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", type=a_file, nargs="+", default=sorted(TABULAR.glob("*.csv")))
    parser.add_argument("--search", nargs="*", help="Tables to search on; default: all.")
    parser.add_argument("--objectives", nargs="+", default=list(SETTINGS), choices=SETTINGS)
    parser.add_argument("--samplers", nargs="+", default=["lstm", "tpe"], choices=NAMES)
    parser.add_argument("--seeds", type=a_count, default=20)
    parser.add_argument("--trials", type=a_count, default=40, help="Evaluations of a search.")
    parser.add_argument("--earlier", type=a_count, default=40, help="Students of an earlier study.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", type=a_result, help="Write the figures into this file.")
    return parser.parse_args()


if __name__ == "__main__":
    main()
