"""What each part of a recipe is worth, and how much of the teacher's score students keep.

    python benchmarks/quality.py --plan benchmarks/ablation.yaml --data-dir GLUE \
        --corpus SENTENCES --out runs/quality

A plan names tasks, students and variants (overrides of the settings); a student is a shape, or how
the teacher is pruned (`{pruning: ziplm, pruned_to_speedup: 4}`). Every student is trained by
the same full KD as a search's winner. Results go to `OUT/results.jsonl`, one line each; what is
there is not computed again, so that the command can be stopped and repeated, and run beside itself
for other tasks (`--tasks`). A line that another plan made under the same name is refused, as are
other data than those that a folder began with. `--json
docs/results.json` writes the retention, `student-quality`, of the tasks that have results, in place
of what the file has: it is a mean over them. Speeds are beside the plan's teacher, on the first of
these tasks. Its students are the variants that the plan marks with `final: true`: at 2, 4 and 8
times the teacher's speed the slowest of them that is faster counts. A plan that marks none is
refused with `--json`.

A plan's `settings` are those of `kdnas search`: `teacher` and `tasks` (entries, by name) point it
at a teacher and tasks of one's own; a task of the plan may be the path of its YAML file, too.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import tests_path  # noqa: F401
from command_line import a_count, a_result, in_one_line, none_or_more, write_entry
from plans import LISTS, read_plan, wanted_tasks
from support.stepwise import Stepwise

from kdnas.config import Settings, find_recipe, load_settings
from kdnas.distillation.signals import LiveSignal
from kdnas.errors import KdnasError
from kdnas.evaluation.answers import settle_answers
from kdnas.evaluation.scores import evaluate_model
from kdnas.files.atomic import append_line, read_json
from kdnas.files.lines import json_lines
from kdnas.recipes.full import run_recipe
from kdnas.recipes.transfer_set import check_transfer, reads_transfer
from kdnas.runs.run_folder import Run
from kdnas.scoring.agreement import heldout_agreement
from kdnas.scoring.costs import FINAL, CostMeter, given_shape
from kdnas.space import Architecture, Candidate, Pruning
from kdnas.space.candidate import DEFAULT_RECIPE
from kdnas.space.families import FIELDS
from kdnas.students.pruning import PrunedStudents
from kdnas.tasks import TaskSpec, load_spec
from kdnas.tasks.defaults import with_type_defaults
from kdnas.teachers.cache import hash_of
from kdnas.workflow.preparing.floor import floor
from kdnas.workflow.preparing.inputs import check_same_data, with_latency_input
from kdnas.workflow.preparing.pruned import measure_pruning, pruned_students
from kdnas.workflow.preparing.selection_rows import selection_rows

BANDS = (2, 4, 8)
FINAL_VARIANT = "[{name: 4x, student: 4x, final: true}]"
TEACHER = "steps/evaluate-teacher.json"
FLOOR = "steps/floor.json"
# Options that a run folder lets change, and that decide what a search in a cell finds.
OF_A_SEARCH = ("trials", "budget", "finalists", "final_seeds")


Make = Callable[[Stepwise, dict[str, Any], dict[str, Any], int], dict[str, Any]]


@in_one_line()
def main() -> None:
    """Trains what is missing; prints a table, writes the entry."""
    args = _arguments()
    plan = read_plan(args.plan)
    if args.json and plan["variants"] and not any(one.get("final") for one in plan["variants"]):
        raise KdnasError(
            f"{args.plan} marks no variant as final, and --json is of those that are; give some "
            f"final: true, such as variants: {FINAL_VARIANT}, or leave out --json"
        )
    file = run_plan(plan, args)
    if args.json or args.table:
        _report(file, plan, args)


def run_plan(plan: dict[str, Any], args: argparse.Namespace, make: Make | None = None) -> Path:
    """Trains what a plan names and is not done; returns the file with a line for each student.

    `make` takes a task's pipeline, the plan, a variant and a seed; default: `result_of`.

    Raises:
        KdnasError: A task or student is not in the plan, it has settings that no run can have, a
            line of the file was made by other ones, or no seed is asked for.
    """
    wanted, seeds = wanted_tasks(plan, args), seeds_of(args)
    if make is None:
        _check_students(plan, args.plan)
    out: Path = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    file = out / "results.jsonl"
    refuse_other_cells(file, plan)
    for task in wanted:
        pipeline = pipeline_of(task, plan, args)
        for seed in seeds:
            for variant in plan["variants"]:
                key = {"task": task, "variant": variant["name"], "seed": seed}
                if seed < variant.get("seeds", args.seeds) and not is_done(file, key):
                    own = {"digest": digest_of(plan, task, variant)}
                    row = {**key, **own, **(make or result_of)(pipeline, plan, variant, seed)}
                    append_line(file, json.dumps(row))
                    print(json.dumps(row), flush=True)
    return file


def seeds_of(args: argparse.Namespace) -> range:
    """The seeds that are asked for; raises KdnasError where there are none."""
    if args.from_seed >= args.seeds:
        raise KdnasError(
            f"--from-seed {args.from_seed} leaves no seed of --seeds {args.seeds}, which are those "
            "below it; give a higher --seeds"
        )
    return range(args.from_seed, args.seeds)


def _check_students(plan: dict[str, Any], file: Path) -> None:
    """Raises KdnasError where a plan has no variant, or one has no whole student."""
    if not plan["variants"]:
        raise KdnasError(
            f"{file} has no variants; give some, such as variants: {LISTS['variants']}"
        )
    for variant in plan["variants"]:
        if variant.get("student") not in plan["students"]:
            name = variant.get("student")
            wrong = f"has no student {name!r}, but a variant of it" if name else "lacks a student"
            raise KdnasError(f"{file} {wrong}: {variant['name']}")
    for name, given in plan["students"].items():
        lacking = [field for field in FIELDS if field not in given]
        if lacking and not Pruning.from_params(given):
            raise KdnasError(f"{file}: student {name} has no {lacking[0]}, and no pruning")


def refuse_other_cells(file: Path, plan: dict[str, Any]) -> None:
    """Raises KdnasError where a line of a file has a cell's name in a plan, and other settings.

    Lines from before there were digests count as of these settings.
    """
    variants = {variant["name"]: variant for variant in plan["variants"]}
    for row in rows_in(file):
        task, variant = row["task"], variants.get(row["variant"])
        if variant is None or task not in plan["tasks"] or "digest" not in row:
            continue
        if row["digest"] != digest_of(plan, task, variant):
            raise KdnasError(
                f"{file} has {variant['name']!r} of {task}, seed {row['seed']}, by other settings; "
                "give another --out, or delete that line"
            )


def digest_of(plan: dict[str, Any], task: str, variant: dict[str, Any]) -> str:
    """Names what decides a cell, beside what its run folder refuses to change by itself."""
    own = {**(plan.get("settings") or {}), **(plan["tasks"][task] or {})}
    students, fixed = plan.get("students") or {}, plan.get("fixed") or {}
    named = variant["settings"].get("recipe")
    decides = {
        "settings": variant["settings"],
        "student": students.get(variant.get("student")),
        "fixed": fixed.get(task),
        **{part: plan.get(part) for part in ("budget", "recipes", "search")},
        "changeable": {name: own[name] for name in OF_A_SEARCH if name in own},
        # What it says today; lines from when plans' recipes were not read are of others.
        **({"recipe": find_recipe(named).overlay} if named else {}),
    }
    return hash_of(decides)[:12]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    return parser.parse_args()


def add_arguments(parser: argparse.ArgumentParser, plan: Path | None = None) -> None:
    """What `run_plan` reads; `plan` is the default one."""
    parser.add_argument("--plan", type=Path, required=plan is None, default=plan)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tasks", nargs="*")
    parser.add_argument("--seeds", type=a_count, default=3, help="Seeds are those below it.")
    parser.add_argument("--from-seed", type=none_or_more, default=0, help="The first; default: 0.")
    parser.add_argument("--threads", type=a_count)
    parser.add_argument("--table", action="store_true", help="Print the table.")
    parser.add_argument("--json", type=a_result, help="Write the figures into this file.")


def pipeline_of(task: str, plan: dict[str, Any], args: argparse.Namespace) -> Stepwise:
    """A task's teacher and data, shared by all its students; its scores are kept beside it.

    Raises:
        KdnasError: The plan has settings that no run can have, no transfer set can be made, or the
            data are not those of earlier commands.
    """
    given = {
        "task": task,
        "data_dir": str(args.data_dir),
        "corpus": args.corpus and str(args.corpus),
        "threads": args.threads,
        "out": str(args.out / task),
        **(plan.get("settings") or {}),
        **(plan["tasks"][task] or {}),
    }
    settings = load_settings((), {k: v for k, v in given.items() if v is not None})
    spec = load_spec(settings.task or task, settings.tasks)
    settings = with_latency_input(with_type_defaults(settings, spec))
    pipeline = Stepwise(Run.create(settings))
    # What variants, or recipes of the plan, cannot do shall show before a teacher is trained.
    own = [variant["settings"] for variant in plan["variants"]]
    own += [{"stages": stages} for stages in plan.get("stages", ())]
    changed = [with_changes(settings, spec, changes) for changes in own]
    if reading := next(filter(reads_transfer, changed), None):
        check_transfer(reading, pipeline.data)
    check_same_data(pipeline.context, pipeline.data)  # from here on things are made of them
    model = pipeline.teacher.model
    pipeline.run.step("evaluate teacher", {}).get(lambda: pipeline.score(model))
    floor(pipeline.context, pipeline.inputs)
    return pipeline


def with_changes(settings: Settings, spec: TaskSpec, changes: Mapping[str, Any]) -> Settings:
    """A task's settings with those of a student, then the defaults of the task's type.

    As in a search: a recipe, or stages, take the place of the plan's recipe.
    """
    kept = {name: getattr(settings, name) for name in settings.model_fields_set}
    of_none = {"recipe": DEFAULT_RECIPE} if "stages" in changes else {}
    return with_type_defaults(load_settings((), {**of_none, **changes}, kept), spec)


def result_of(
    pipeline: Stepwise, plan: dict[str, Any], variant: dict[str, Any], seed: int
) -> dict[str, Any]:
    """One student, from start to score."""
    changes = {**variant["settings"], "seed": seed}
    settings = with_changes(pipeline.settings, pipeline.data.spec, changes)
    candidate, pruned = _student(pipeline, plan["students"][variant["student"]])
    full = replace(pipeline.full_by(settings), pruned=pruned)
    name = f"{pipeline.settings.task} {variant['name']} {seed}"
    work = pipeline.run.folder / "work" / name.replace(" ", "-")
    start = time.perf_counter()
    state = run_recipe(full, candidate, work, name)
    seconds = time.perf_counter() - start
    rows = selection_rows(pipeline.data, pipeline.settings)
    settle_answers(state.model, rows, pipeline.runtime.exact, pipeline.teacher.pad_id)
    scores = pipeline.score(state.model)
    # Recipes are chosen by these: the scores are of the split that is reported.
    held = evaluate_model(
        state.model,
        {pipeline.data.spec.evaluation[0]: rows},
        pipeline.data.spec,
        pipeline.runtime.exact,
        pipeline.teacher.pad_id,
        pipeline.teacher.scale,
    )
    shutil.rmtree(work)
    given = (state.model, rows, LiveSignal(pipeline.teacher.model, pipeline.runtime))
    agreed = heldout_agreement(*given, pipeline.runtime.exact, pad_id=pipeline.teacher.pad_id)
    return {
        "student": variant["student"],
        "scores": scores,
        "selection": held,
        "agreement": round(agreed.value, 5),  # with the teacher's predictions, on the same rows
        "seconds": round(seconds, 1),
    }


def _student(pipeline: Stepwise, given: dict[str, Any]) -> tuple[Candidate, PrunedStudents | None]:
    """A student of a plan, and what prunes it."""
    pruning = Pruning.from_params(given)
    if not pruning:
        return Candidate(Architecture.from_params(given)), None
    context, inputs, teacher = pipeline.context, pipeline.inputs, pipeline.teacher
    meter = CostMeter(teacher.model, context.settings, inputs.vocabularies)
    pruned = pruned_students(context, inputs, teacher, meter)
    measure_pruning(context, pruned, pruning)  # no part of a training
    return Candidate(inputs.space.teacher, pruning=pruning), pruned


def is_done(file: Path, key: dict[str, Any]) -> bool:
    return any(key.items() <= row.items() for row in rows_in(file))


def rows_in(file: Path) -> list[dict[str, Any]]:
    """The lines of a file of results, but for what a kill cut short."""
    return [*json_lines(file)]


def _report(file: Path, plan: dict[str, Any], args: argparse.Namespace) -> None:
    """Prints a Markdown table of the tasks with results; the mean is over seeds that have all."""
    rows = [row for row in rows_in(file) if row["task"] in plan["tasks"]]
    done = {row["task"] for row in rows}
    tasks = [task for task in plan["tasks"] if task in done]
    if not tasks:
        print(f"{file} has no results yet")
        return
    frame = pd.DataFrame(rows)
    frame["score"] = [next(iter(scores.values())) for scores in frame.scores]
    teachers = {
        task: next(iter((read_json(args.out / task / TEACHER) or {}).values())) for task in tasks
    }
    teacher_mean = sum(teachers.values()) / len(teachers)
    table = frame.pivot_table(index=["variant", "seed"], columns="task", values="score")[tasks]
    seconds = frame.pivot_table(index="variant", columns="task", values="seconds", aggfunc="median")
    print("| |", " | ".join(tasks), "| mean | of the teacher | seconds |")
    print("|---" * (len(tasks) + 4) + "|")
    cells = [*(f"{score:.4f}" for score in teachers.values()), f"{teacher_mean:.4f}", "1.000", ""]
    print("| teacher |", " | ".join(cells), "|")
    for name in (variant["name"] for variant in plan["variants"]):
        if name in table.index.get_level_values(0):
            part = table.loc[name]
            cells = [spread(part[task].dropna()) for task in tasks]
            whole = part.dropna().mean(axis=1)
            kept = kept_of(teacher_mean, float(whole.mean())) if len(whole) else None
            share = ("-" if kept is None else f"{kept:.3f}") if len(whole) else ""
            took = " / ".join(f"{value:.0f}" for value in seconds.loc[name, tasks].dropna())
            print(f"| {name} |", " | ".join([*cells, spread(whole), share, took]), "|")
    if args.json:
        _write_retention(table, teacher_mean, plan, args)


def kept_of(teacher: float, score: float) -> float | None:
    """The share of a teacher's score that a student keeps; None of a teacher without any."""
    return score / teacher if teacher > 0 else None


def spread(scores: pd.Series) -> str:
    """Mean and standard deviation, or the one score."""
    if len(scores) < 2:
        return " ".join(f"{score:.4f}" for score in scores)
    return f"{scores.mean():.4f} ± {scores.std():.4f}"


def _write_retention(
    table: pd.DataFrame, teacher_mean: float, plan: dict[str, Any], args: argparse.Namespace
) -> None:
    """The best of a plan's `final` variants at each speed-up, as shares of the teacher's mean."""
    whole_seeds = table.dropna()  # those that have every task
    done, tasks = {*whole_seeds.index.get_level_values(0)}, [str(task) for task in table.columns]
    chosen = [v for v in plan["variants"] if v.get("final") and v["name"] in done]
    finals = {v["name"]: v["student"] for v in chosen}
    pipeline = pipeline_of(tasks[0], plan, args)
    costs = {name: costs_of(pipeline, plan["students"][name]) for name in {*finals.values()}}
    speedups = {name: next(iter(found.values())) for name, found in costs.items()}
    retention, details = dict[str, float | None](), dict[str, Any]()
    for band in BANDS:
        able = {name: student for name, student in finals.items() if speedups[student] > band}
        if not able:
            continue
        nearest = min(able, key=lambda name: speedups[able[name]])
        mean = float(whole_seeds.loc[nearest].mean(axis=1).mean())
        kept = kept_of(teacher_mean, mean)
        retention[f"{band}x"] = None if kept is None else round(kept, 4)
        details[f"{band}x"] = {
            "student": plan["students"][able[nearest]],
            "variant": nearest,
            "speedup": costs[able[nearest]],
            "mean": round(mean, 4),
        }
    if not retention:
        print(f"no final variant has all tasks and is faster than {BANDS[0]}x: {args.json} stays")
        return
    found = {
        "retention": retention,
        "teacher_mean": round(teacher_mean, 4),
        "tasks": tasks,
        "students": details,
    }
    write_entry(args.json, "student-quality", found)


def costs_of(pipeline: Stepwise, given: dict[str, Any]) -> dict[str, float]:
    """Speed-ups as the plan times one (usually `1x128`), then at 32 x 64; parameters.

    Args:
        pipeline: Has the teacher that a student is beside.
        given: A student of the plan.
    """
    candidate, pruned = _student(pipeline, given)
    settings, found = pipeline.settings, dict[str, float]()
    usual = (settings.latency_batch, settings.latency_length, settings.latency_repeats)
    for batch, length, repeats in (usual, (32, min(64, usual[1]), 5)):
        timing = {"latency_batch": batch, "latency_length": length, "latency_repeats": repeats}
        meter = CostMeter(
            pipeline.teacher.model,
            settings.model_copy(update=timing),
            pipeline.inputs.vocabularies,
            pruned.shape if pruned else given_shape,
        )
        costs = meter.of_model(meter.untrained(candidate), FINAL)
        found[f"{batch}x{length}"] = round(costs.speedup, 2)
    return {**found, "params": costs.params}


if __name__ == "__main__":
    main()
