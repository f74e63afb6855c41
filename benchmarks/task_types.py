"""What students keep of their teacher on tasks beyond one label, beside plain fine-tuning.

    python benchmarks/task_types.py --plan benchmarks/task_types.yaml --data-dir DATA \
        --out runs/task-types --table --json docs/results.json

Each student of the plan is distilled, and fine-tuned on labels alone from the same start, with
every seed; scores are those of the validation split. `OUT/results.jsonl` keeps each training, so
that the command can be stopped and repeated. `--json` writes the entry `task-types`: per task the
`teacher`, the `floor` (a simple model on words), and for each speed `score`, `fine_tuned` and
`retention`, means over the seeds that both students of a speed have.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
from command_line import in_one_line, this_command
from plans import read_plan, wanted_tasks
from quality import FLOOR, TEACHER, add_arguments, rows_in, run_plan, spread

from kdnas.files.atomic import read_json, write_json

FINE_TUNED = ", fine-tuned"


@in_one_line()
def main() -> None:
    """Trains what is missing; prints a table, writes the entry."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add_arguments(parser)
    args = parser.parse_args()
    plan = read_plan(args.plan)
    file = run_plan(plan, args)
    found = {task: _figures(task, file, plan, args.out) for task in plan["tasks"]}
    found = {task: figures for task, figures in found.items() if figures}
    if args.table:
        print("\n".join(_table(found)))
    if args.json:
        whole = read_json(args.json) or {}
        # Those of other tasks in OUT are of other commands.
        own = {task: found[task] for task in wanted_tasks(plan, args) if task in found}
        plain = {task: _entry(one) | {"command": this_command()} for task, one in own.items()}
        whole["task-types"] = {**whole.get("task-types", {}), **plain}
        write_json(args.json, whole)


def _figures(task: str, file: Path, plan: dict[str, Any], out: Path) -> dict[str, Any]:
    """The teacher's score, and by speed the scores of the seeds; empty where none is done."""
    rows = [row for row in rows_in(file) if row["task"] == task]
    known = read_json(out / task / TEACHER)
    if not rows or not known:
        return {}
    metric = next(iter(known))
    figures: dict[str, Any] = {"metric": metric, "teacher": known[metric], "speeds": {}}
    if floor := read_json(out / task / FLOOR):
        figures["floor"] = {floor["name"]: floor["scores"][metric]}
    for speed in plan["students"]:
        distilled, fine_tuned = (
            {r["seed"]: r["scores"][metric] for r in rows if r["variant"] == speed + ending}
            for ending in ("", FINE_TUNED)
        )
        # One that was stopped between a seed's two students has one of them.
        if both := sorted(distilled.keys() & fine_tuned.keys()):
            figures["speeds"][speed] = {
                "score": {seed: distilled[seed] for seed in both},
                "fine_tuned": {seed: fine_tuned[seed] for seed in both},
            }
    return figures


def _entry(figures: dict[str, Any]) -> dict[str, Any]:
    """As docs/results.json has it."""
    entry: dict[str, Any] = {
        "metric": figures["metric"],
        "teacher": round(figures["teacher"], 4),
        "floor": {name: round(score, 4) for name, score in figures.get("floor", {}).items()},
    }
    for speed, scores in figures["speeds"].items():
        means = {kind: fmean(values.values()) for kind, values in scores.items()}
        means["retention"] = means["score"] / figures["teacher"]
        entry[speed] = {kind: round(value, 4) for kind, value in means.items()}
        entry[speed]["seeds"] = sorted(scores["score"])
    return entry


def _table(found: dict[str, dict[str, Any]]) -> list[str]:
    """Markdown; after a mean over seeds its standard deviation."""
    lines = [
        "| task | teacher | floor | speed | distilled | fine-tuned | kept |",
        "|---|---|---|---|---|---|---|",
    ]
    for task, figures in found.items():
        for speed, scores in figures["speeds"].items():
            kinds = [spread(pd.Series(scores[kind])) for kind in ("score", "fine_tuned")]
            share = fmean(scores["score"].values()) / figures["teacher"]
            teacher = f"{figures['metric']} {figures['teacher']:.4f}"
            floor = ", ".join(f"{value:.4f}" for value in figures.get("floor", {}).values())
            cells = [task, teacher, floor, speed, *kinds, f"{share:.1%}"]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
