"""Every recipe on the same students: same start, same rows, same number of examples seen.

    python benchmarks/recipes.py --data-dir DATA --out runs/recipes --tasks mrpc stsb \
        --threads 1 --table --json docs/results.json

A recipe's stages keep their losses, options and learning rates; their epochs are scaled so that
each recipe passes over the task's rows `--epochs` times in all, and all of its stages read these
rows. Recipes that need a corpus are left out: they see other data. Beside them stand plain
fine-tuning from the same start, the teacher, and the floor.

`OUT/results.jsonl` keeps each training, so that the command can be stopped and repeated. `--json`
adds to the entry `recipes`: task -> speed -> recipe -> mean, std and seeds on the split that is
scored, with the `command` that made a task's; and `default`: for each type of task, the recipe that
a paired test on held-out training rows, of the tasks in OUT, puts above today's default, else that
one: `relations` or `states`. What the entry has of other tasks and types stays.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from command_line import in_one_line, this_command
from plans import read_plan
from quality import (
    FLOOR,
    TEACHER,
    add_arguments,
    refuse_other_cells,
    rows_in,
    run_plan,
    spread,
)
from scipy.stats import ttest_1samp

from kdnas.config import find_recipe
from kdnas.config.recipe import Stage
from kdnas.config.recipe_file import Recipe, built_in_names
from kdnas.errors import KdnasError
from kdnas.files.atomic import read_json, write_json
from kdnas.scoring.rank_agreement import agreement as rank_agreement
from kdnas.tasks import TaskType, load_spec

FINE_TUNED = "fine-tuned"
# A person who fine-tunes the student by itself takes this rate.
LABELS = Stage(name="labels-alone", data="task", losses={"task": 1.0}, epochs=1, lr=2e-4)
COLUMNS = [
    *("task", "speed", "recipe", "seed", "metric", "score", "selection", "agreement", "seconds")
]
SIGNIFICANT, LEAST_PAIRS = 0.05, 3


@in_one_line()
def main() -> None:
    """Trains what is missing; prints tables, writes the entry."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add_arguments(parser, Path(__file__).with_name("recipes.yaml"))
    parser.add_argument("--recipes", nargs="*", help="Default: all that need no corpus.")
    parser.add_argument("--speeds", nargs="*", help="Default: all of the plan.")
    parser.add_argument("--epochs", type=float, default=6.0, help="Passes over the task's rows.")
    args = parser.parse_args()
    plan, usual = read_plan(args.plan), usual_names()
    names = args.recipes or usual
    if bare := [name for name in names if not find_recipe(name).stages]:
        raise KdnasError(f"--recipes {bare[0]} has no stages; relations or states is what it does")
    # The entry has every cell in OUT, also of recipes and speeds that are not asked for now.
    every = list(variants(dict.fromkeys([*names, *usual]), plan["students"], args.epochs))
    refuse_other_cells(args.out / "results.jsonl", {**plan, "variants": every})
    speeds = args.speeds or list(plan["students"])
    plan["variants"] = list(variants(names, speeds, args.epochs))
    frame = results(run_plan(plan, args), plan)
    if args.json and len(frame):
        whole = read_json(args.json) or {}
        whole["recipes"] = merged(whole.get("recipes", {}), entry(frame, task_types(plan)))
        write_json(args.json, whole)
    if args.table:
        print("\n".join(table(frame, args.out)))


def usual_names() -> list[str]:
    """The recipes that are compared where none is named."""
    found = {name: find_recipe(name) for name in built_in_names()}
    return [
        name
        for name, recipe in found.items()
        if recipe.stages  # `default` has none
        and not (recipe.needs_corpus or "students" in recipe.settings)
    ]


def variants(
    names: Iterable[str], speeds: Iterable[str], epochs: float
) -> Iterable[dict[str, Any]]:
    """What is trained: each recipe, and labels alone, for each student."""
    for speed in speeds:
        for name in (*names, FINE_TUNED):
            yield {
                "name": f"{speed} {name}",
                "student": speed,
                "settings": fair(None if name == FINE_TUNED else find_recipe(name), epochs),
            }


def fair(recipe: Recipe | None, epochs: float) -> dict[str, Any]:
    """A recipe's settings with so many passes over the task's rows; None is labels alone."""
    stages: Sequence[Stage] = (LABELS,)
    settings: dict[str, Any] = {}
    if recipe is not None:
        settings = dict(recipe.settings)
        stages = recipe.stages
    # Filters and the like are trained before the student is: they are not the student's examples.
    whole = sum(stage.epochs for stage in stages)
    changed = [
        {
            **stage.model_dump(mode="json", exclude_defaults=True),
            "data": "task",
            "epochs": stage.epochs * epochs / whole,
        }
        for stage in stages
    ]
    return {**settings, "stages": changed}


def results(file: Path, plan: Mapping[str, Any]) -> pd.DataFrame:
    """A line a training: task, speed, recipe, seed, and its score on both splits.

    Trainings of other plans, with other tasks or students, are left out.
    """
    rows = []
    for row in rows_in(file):
        speed = str(row.get("student"))  # which may have a space in it
        recipe = row["variant"].removeprefix(f"{speed} ")
        other = speed not in plan["students"] or recipe == row["variant"]
        if other or row["task"] not in plan["tasks"]:
            continue
        metric = next(iter(row["scores"]))
        rows.append(
            {
                "task": row["task"],
                "speed": speed,
                "recipe": recipe,
                "seed": row["seed"],
                "metric": metric,
                "score": row["scores"][metric],
                "selection": row["selection"][metric],
                "agreement": row.get("agreement"),
                "seconds": row["seconds"],
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def table(frame: pd.DataFrame, out: Path) -> list[str]:
    """Markdown, one table a task: mean and standard deviation over seeds."""
    lines: list[str] = []
    for task, part in frame.groupby("task", sort=False):
        metric = part.metric.iloc[0]
        teacher = (read_json(out / str(task) / TEACHER) or {}).get(metric)
        floor = (read_json(out / str(task) / FLOOR) or {}).get("scores", {}).get(metric)
        speeds = list(dict.fromkeys(part.speed))
        known = [f"teacher {teacher:.4f}"] if teacher is not None else []
        known += [f"floor {floor:.4f}"] if floor is not None else []
        lines += ["", f"**{task}**, {metric}: {', '.join(known)}", ""]
        lines += [f"| recipe | {' | '.join(speeds)} | seconds |", "|---" * (len(speeds) + 2) + "|"]
        for recipe, rows in part.groupby("recipe", sort=False):
            cells = [spread(rows[rows.speed == speed].score) for speed in speeds]
            lines.append(f"| {recipe} | {' | '.join(cells)} | {rows.seconds.median():.0f} |")
        lines += ["", told_apart(part)]
    return lines


def told_apart(part: pd.DataFrame) -> str:
    """How well held-out rows rank the distilled students of a task, by two measures."""
    known = part[part.agreement.notna() & (part.recipe != FINE_TUNED)]
    if len(known) < LEAST_PAIRS:
        return ""
    names = {"selection": "their score there", "agreement": "agreement with the teacher there"}
    taus = [f"{_tau(known[name], known.score)} by {words}" for name, words in names.items()]
    return (
        f"Kendall's tau of held-out rows with the score, {len(known)} students: {', '.join(taus)}."
    )


def _tau(predictor: pd.Series, score: pd.Series) -> str:
    tau = rank_agreement([*predictor], [*score]).tau
    return "none (all are equal)" if tau is None else f"{tau:.2f}"


def task_types(plan: Mapping[str, Any]) -> dict[str, TaskType]:
    """Of a plan's tasks, those of one's own among them, by name."""
    known = (plan.get("settings") or {}).get("tasks")
    return {name: load_spec(own["task"], known).task_type for name, own in plan["tasks"].items()}


def entry(frame: pd.DataFrame, types: Mapping[str, TaskType]) -> dict[str, Any]:
    """As docs/results.json has it; `types` are those of tasks."""
    found: dict[str, Any] = {}
    for (task, speed, recipe), rows in frame.groupby(["task", "speed", "recipe"], sort=False):
        std = rows.score.std() if len(rows) > 1 else None
        found.setdefault(str(task), {}).setdefault(str(speed), {})[str(recipe)] = {
            "mean": round(float(rows.score.mean()), 4),
            "std": None if std is None else round(float(std), 4),
            "seeds": sorted(map(int, rows.seed)),
        }
    kinds = {str(task): types[str(task)] for task in frame.task.unique()}
    names = {task: kind.name for task, kind in kinds.items()}
    best = {
        kind.name: best_recipe(frame[frame.task.map(names) == kind.name], usual_recipe(kind))
        for kind in kinds.values()
    }
    return {**found, "default": best}


def merged(before: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """An entry with the tasks of a new one, which has its command, and the default of its types."""
    tasks = {name: one for name, one in found.items() if name != "default"}
    made = {name: {**one, "command": this_command()} for name, one in tasks.items()}
    default = {**before.get("default", {}), **found["default"]}
    return {**before, **made, "default": default}


def usual_recipe(kind: TaskType) -> str:
    """The recipe that holds today for a type of tasks, by the name that has its stages."""
    losses = kind.defaults_with_heads.get("intermediate_losses", {})
    return "relations" if "relations" in losses else "states"


def best_recipe(frame: pd.DataFrame, usual: str) -> str:
    """The best recipe on held-out training rows, if it is above the usual one; else that one.

    Each rival is compared on the tasks, speeds and seeds that both were trained on, three or more.
    """
    scores = frame.pivot_table(
        index=["task", "speed", "seed"], columns="recipe", values="selection"
    )
    if usual not in scores:
        return usual
    gains = scores.drop(columns=[usual, FINE_TUNED], errors="ignore").sub(scores[usual], axis=0)
    gains = gains.loc[:, gains.count() >= LEAST_PAIRS]
    if gains.empty or gains.shape[1] == 0:
        return usual
    name = str(gains.mean().idxmax())
    test = ttest_1samp(gains[name].dropna(), 0.0, alternative="greater")
    return name if test.pvalue < SIGNIFICANT else usual


if __name__ == "__main__":
    main()
