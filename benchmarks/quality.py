"""What each part of a recipe is worth, and how much of the teacher's score students keep.

    python benchmarks/quality.py --plan benchmarks/ablation.yaml --data-dir GLUE \
        --corpus SENTENCES --out runs/quality

A plan names tasks, students and variants (overrides of the settings); a student is a shape, or how
the teacher is pruned (`{pruning: ziplm, pruned_to_speedup: 4}`). Every student is trained by
the same full KD as a search's winner. Results go to `OUT/results.jsonl`, one line each; what is
there is not computed again, so that the command can be stopped and repeated, and run beside itself
for other tasks (`--tasks`). `--json docs/results.json` writes the retention: `student-quality`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import tests_path  # noqa: F401
import yaml
from support.stepwise import Stepwise

from kdnas.config import validated
from kdnas.distillation.signals import LiveSignal
from kdnas.evaluation.answers import settle_answers
from kdnas.evaluation.scores import evaluate_model
from kdnas.files.atomic import read_json, write_json
from kdnas.measure import InTorch, LatencySettings, count_params, measure_latency
from kdnas.recipes.full import run_recipe
from kdnas.runs.run_folder import Run
from kdnas.scoring.agreement import heldout_agreement
from kdnas.scoring.costs import CostMeter
from kdnas.space import Architecture, Candidate, Pruning
from kdnas.students import empty_student
from kdnas.students.pruning import PrunedStudents
from kdnas.teachers.load import teacher_source
from kdnas.workflow.preparing.floor import floor
from kdnas.workflow.preparing.pruned import measure_pruning, pruned_students
from kdnas.workflow.preparing.selection_rows import selection_rows

BANDS = (2, 4, 8)
TEACHER = "steps/evaluate-teacher.json"
FLOOR = "steps/floor.json"


Make = Callable[[Stepwise, dict[str, Any], dict[str, Any], int], dict[str, Any]]


def main() -> None:
    args = _arguments()
    plan = yaml.safe_load(args.plan.read_text())
    file = run_plan(plan, args)
    if args.json or args.table:
        _report(file, plan, args)


def run_plan(plan: dict[str, Any], args: argparse.Namespace, make: Make | None = None) -> Path:
    """Trains what a plan names and is not done; returns the file with a line for each student.

    `make` takes a task's pipeline, the plan, a variant and a seed; default: `result_of`.
    """
    out: Path = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    file = out / "results.jsonl"
    wanted = [name for name in plan["tasks"] if name in (args.tasks or plan["tasks"])]
    for task in wanted:
        pipeline = pipeline_of(task, plan, args)
        for seed in range(args.from_seed, args.seeds):
            for variant in plan["variants"]:
                key = {"task": task, "variant": variant["name"], "seed": seed}
                if seed < variant.get("seeds", args.seeds) and not is_done(file, key):
                    row = key | (make or result_of)(pipeline, plan, variant, seed)
                    with file.open("a") as stream:
                        stream.write(json.dumps(row) + "\n")
                    print(json.dumps(row), flush=True)
    return file


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
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--from-seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--table", action="store_true", help="Print the table.")
    parser.add_argument("--json", type=Path, help="Write the figures into this file.")


def pipeline_of(task: str, plan: dict[str, Any], args: argparse.Namespace) -> Stepwise:
    """A task's teacher and data, shared by all its students; its scores are kept beside it."""
    settings = {
        "task": task,
        "data_dir": str(args.data_dir),
        "corpus": args.corpus and str(args.corpus),
        "threads": args.threads,
        "out": str(args.out / task),
        **plan.get("settings", {}),
        **plan["tasks"][task],
    }
    # Where any variant, or recipe of the plan, reads a transfer set, one is made for all.
    own = (variant["settings"].get("stages", ()) for variant in plan["variants"])
    recipes = (*own, *plan.get("stages", ()))
    reading = (stages for stages in recipes if any(s["data"] == "transfer" for s in stages))
    settings["stages"] = next(reading, None)
    pipeline = Stepwise(Run.create(validated({k: v for k, v in settings.items() if v is not None})))
    model = pipeline.teacher.model
    pipeline.run.step("evaluate teacher", {}).get(lambda: pipeline.score(model))
    floor(pipeline.context, pipeline.inputs)
    return pipeline


def result_of(
    pipeline: Stepwise, plan: dict[str, Any], variant: dict[str, Any], seed: int
) -> dict[str, Any]:
    """One student, from start to score."""
    changed = {**pipeline.settings.model_dump(), **variant["settings"], "seed": seed}
    candidate, pruned = _student(pipeline, plan["students"][variant["student"]])
    full = replace(pipeline.full, settings=validated(changed), pruned=pruned)
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
        return Candidate(Architecture(**given)), None
    context, inputs, teacher = pipeline.context, pipeline.inputs, pipeline.teacher
    meter = CostMeter(teacher.model, context.settings, inputs.vocabularies)
    pruned = pruned_students(context, inputs, teacher, meter)
    measure_pruning(context, pruned, pruning)  # no part of a training
    return Candidate(inputs.space.teacher, pruning=pruning), pruned


def is_done(file: Path, key: dict[str, Any]) -> bool:
    return any(key.items() <= row.items() for row in rows_in(file))


def rows_in(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _report(file: Path, plan: dict[str, Any], args: argparse.Namespace) -> None:
    """Prints a Markdown table; the mean is over seeds that have every task."""
    frame = pd.DataFrame(rows_in(file))
    frame["score"] = [next(iter(scores.values())) for scores in frame.scores]
    tasks = list(plan["tasks"])
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
            rows = table.loc[name]
            cells = [spread(rows[task].dropna()) for task in tasks]
            whole = rows.dropna().mean(axis=1)
            share = f"{whole.mean() / teacher_mean:.3f}" if len(whole) else ""
            took = " / ".join(f"{value:.0f}" for value in seconds.loc[name, tasks])
            print(f"| {name} |", " | ".join([*cells, spread(whole), share, took]), "|")
    if args.json:
        _write_retention(table, teacher_mean, plan, args)


def spread(scores: pd.Series) -> str:
    """Mean and standard deviation, or the one score."""
    if len(scores) < 2:
        return " ".join(f"{score:.4f}" for score in scores)
    return f"{scores.mean():.4f} ± {scores.std():.4f}"


def _write_retention(
    table: pd.DataFrame, teacher_mean: float, plan: dict[str, Any], args: argparse.Namespace
) -> None:
    """The best of a plan's `final` variants at each speed-up, as shares of the teacher's mean."""
    costs = {name: costs_of(shape, args.threads) for name, shape in plan["students"].items()}
    retention, details = {}, {}
    finals = {v["name"]: v["student"] for v in plan["variants"] if v.get("final")}
    for band in BANDS:
        able = {name: student for name, student in finals.items() if costs[student]["1x128"] > band}
        if not able:
            continue
        nearest = min(able, key=lambda name: costs[able[name]]["1x128"])
        mean = float(table.loc[nearest].dropna().mean(axis=1).mean())
        retention[f"{band}x"] = round(mean / teacher_mean, 4)
        details[f"{band}x"] = {
            "student": plan["students"][able[nearest]],
            "variant": nearest,
            "speedup": costs[able[nearest]],
            "mean": round(mean, 4),
        }
    whole = read_json(args.json) or {}
    command = f"python benchmarks/quality.py --plan {args.plan} --data-dir GLUE --corpus SENTENCES"
    whole["student-quality"] = {
        "retention": retention,
        "teacher_mean": round(teacher_mean, 4),
        "students": details,
        "command": f"{command} --out {args.out.name} --json {args.json}",
    }
    write_json(args.json, whole)


def costs_of(shape: dict[str, Any], threads: int | None) -> dict[str, float]:
    """Speed-ups at batch 1 and 128 tokens, and at 32 x 64."""
    from kdnas.runtime.device import start_runtime
    from kdnas.tasks import load_spec
    from kdnas.teachers.load import load_teacher

    start_runtime(threads=threads)
    teacher = load_teacher(teacher_source(None), load_spec("sst2")).model
    student = empty_student(teacher.config, Architecture(**shape)).eval()
    single = measure_latency(InTorch(student), InTorch(teacher), LatencySettings(1, 128, 60))
    batch = measure_latency(InTorch(student), InTorch(teacher), LatencySettings(32, 64, 5))
    found = {"1x128": single.speedup, "32x64": batch.speedup, "params": count_params(student)}
    return {name: round(value, 2) for name, value in found.items()}


if __name__ == "__main__":
    main()
