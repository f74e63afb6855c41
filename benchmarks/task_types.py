"""What students keep of their teacher on tasks beyond one label, beside plain fine-tuning.

    python benchmarks/task_types.py --plan benchmarks/task_types.yaml --data-dir DATA \
        --out runs/task-types --table --json docs/results.json

Each variant of the plan is trained with every seed; one called `STUDENT, fine-tuned` is that
student on labels alone from the same start, and stands beside its others. Scores are those of the
validation split. `OUT/results.jsonl` keeps each training, so that the command can be stopped and
repeated.

`--json` adds to the entry `task-types`. For each task it has, by the plan's name (`plans`): the
`teacher`, the `floor` (a simple model on words), the `command`, and for each variant `score`,
`fine_tuned` and `retention`, means over the seeds that a student and its fine-tuned one both have.
Where the teacher scores 0 there is no retention (None, and `-` in the table).
Plans of other commands stay. At the top of a task stands what it has of its best plan (`plan`):
the one whose students `2x` and `4x` keep most.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
from command_line import in_one_line, this_command
from plans import read_plan, wanted_tasks
from quality import FLOOR, TEACHER, add_arguments, kept_of, rows_in, run_plan, spread

from kdnas.files.atomic import read_json, write_json

FINE_TUNED = ", fine-tuned"
# The students by which one plan of a task is better than another.
PUBLISHED = ("2x", "4x")


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
    if args.json:
        whole = read_json(args.json) or {}
        # Those of other tasks in OUT are of other commands.
        own = {task: found[task] for task in wanted_tasks(plan, args) if task in found}
        plain = {task: _entry(one) | {"command": this_command()} for task, one in own.items()}
        whole["task-types"] = merged(whole.get("task-types", {}), plain, args.plan.stem)
        write_json(args.json, whole)
    if args.table:
        print("\n".join(_table(found)))


def merged(
    before: Mapping[str, Any], found: Mapping[str, dict[str, Any]], plan: str
) -> dict[str, Any]:
    """The entry with what a plan made of some tasks."""
    tasks = dict(before)
    for task, one in found.items():
        known = before.get(task, {})
        plans = {**known.get("plans", {}), plan: one}
        best = max(plans, key=lambda name: _rank(plans[name]))
        # What a former best plan had at the top is in its own entry.
        old = {key for each in known.get("plans", {}).values() for key in each}
        others = {key: value for key, value in known.items() if key not in old}
        tasks[task] = {**others, **plans[best], "plan": best, "plans": plans}
    return tasks


def _rank(entry: Mapping[str, Any]) -> tuple[int, float]:
    """How many of `PUBLISHED` stand beside fine-tuned ones, and what they keep in the mean."""
    students = (entry.get(name, {}) for name in PUBLISHED)
    beside = [one["retention"] for one in students if "fine_tuned" in one]
    return len(beside), fmean([share for share in beside if share is not None] or [0.0])


def _figures(task: str, file: Path, plan: dict[str, Any], out: Path) -> dict[str, Any]:
    """The teacher's score, and by variant the scores of the seeds; empty where none is done."""
    rows = [row for row in rows_in(file) if row["task"] == task]
    known = read_json(out / task / TEACHER)
    if not rows or not known:
        return {}
    metric = next(iter(known))
    figures: dict[str, Any] = {"metric": metric, "teacher": known[metric], "students": {}}
    if floor := read_json(out / task / FLOOR):
        figures["floor"] = {floor["name"]: floor["scores"][metric]}
    for name, columns in _rows(plan).items():
        scores = {
            kind: {r["seed"]: r["scores"][metric] for r in rows if r["variant"] == variant}
            for kind, variant in columns.items()
        }
        # One that was stopped between a seed's two students has one of them.
        if both := sorted(set.intersection(*map(set, scores.values()))):
            figures["students"][name] = {
                kind: {seed: own[seed] for seed in both} for kind, own in scores.items()
            }
    return figures if figures["students"] else {}


def _rows(plan: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The variants of each row by column: each, and its student on labels alone if it is there."""
    variants = {one["name"]: one["student"] + FINE_TUNED for one in plan["variants"]}
    columns = {alone for name, alone in variants.items() if name != alone and alone in variants}
    return {
        name: {"score": name, **({"fine_tuned": alone} if alone in columns else {})}
        for name, alone in variants.items()
        if name not in columns
    }


def _entry(figures: dict[str, Any]) -> dict[str, Any]:
    """As docs/results.json has it."""
    entry: dict[str, Any] = {
        "metric": figures["metric"],
        "teacher": round(figures["teacher"], 4),
        "floor": {name: round(score, 4) for name, score in figures.get("floor", {}).items()},
    }
    for name, scores in figures["students"].items():
        means = {kind: fmean(values.values()) for kind, values in scores.items()}
        entry[name] = {kind: round(value, 4) for kind, value in means.items()}
        kept = kept_of(figures["teacher"], means["score"])
        entry[name]["retention"] = None if kept is None else round(kept, 4)
        entry[name]["seeds"] = sorted(scores["score"])
    return entry


def _table(found: dict[str, dict[str, Any]]) -> list[str]:
    """Markdown; after a mean over seeds its standard deviation."""
    lines = [
        "| task | teacher | floor | student | distilled | fine-tuned | kept |",
        "|---|---|---|---|---|---|---|",
    ]
    for task, figures in found.items():
        for name, scores in figures["students"].items():
            kinds = [
                spread(pd.Series(scores[kind])) if kind in scores else "-"
                for kind in ("score", "fine_tuned")
            ]
            kept = kept_of(figures["teacher"], fmean(scores["score"].values()))
            teacher = f"{figures['metric']} {figures['teacher']:.4f}"
            floor = ", ".join(f"{value:.4f}" for value in figures.get("floor", {}).values())
            cells = [task, teacher, floor, name, *kinds, "-" if kept is None else f"{kept:.1%}"]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
