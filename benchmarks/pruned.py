"""Pruned students by several methods, to the same sparsities and speed-ups, beside dense ones.

    python benchmarks/pruned.py --data-dir DATA --out runs/pruned --tasks mrpc --seeds 0 1 2 \
        --threads 1 --json docs/results.json

Each task and seed is a run folder below OUT, whose students are distilled by kdnas's own steps; the
command can be stopped and repeated. Speeds are those of the sliced student in ONNX Runtime.
`--json` writes the entry `pruned`: task -> target -> method -> mean, std, speedup_onnx and seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import yaml

from kdnas.config import Settings, load_settings
from kdnas.config.assistants import problem_of_assistants
from kdnas.errors import MissedLimitError
from kdnas.files.atomic import read_json, write_json
from kdnas.runs.context import open_context
from kdnas.runs.run_folder import Run
from kdnas.runtime.console import say
from kdnas.space import Candidate, Pruning
from kdnas.study.winner import Winner
from kdnas.workflow.distil import distil, train_student
from kdnas.workflow.hand_picked import pick_by_hand
from kdnas.workflow.inputs import load_given_teacher, read_inputs, with_latency_input
from kdnas.workflow.measure import measured
from kdnas.workflow.prepare import Prepared, prepare

DENSE = "dense"
Found = dict[str, dict[str, list[dict[str, Any]]]]  # by target and method, one of each seed


def main() -> None:
    """Makes what is missing; prints a table, writes the entry."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--plan", type=Path, default=Path(__file__).with_name("pruned.yaml"))
    parser.add_argument("--teacher", help="Default: the embedded MiniLM.")
    parser.add_argument("--tasks", nargs="*", help="Default: all of the plan.")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    plan, results = yaml.safe_load(args.plan.read_text()), dict[str, Any]()
    for task in args.tasks or plan["tasks"]:
        found: Found = {}
        for seed in args.seeds:
            for target, method, result in students_of(prepared_for(plan, args, task, seed), plan):
                found.setdefault(target, {}).setdefault(method, []).append({**result, "seed": seed})
        results[task] = {t: {m: entry(r) for m, r in each.items()} for t, each in found.items()}
        print("\n".join(table(task, results[task])))
    if args.json:
        whole = read_json(args.json) or {}
        command = f"python benchmarks/pruned.py --data-dir DATA --out OUT --json {args.json}"
        whole["pruned"] = {**results, "command": command}
        write_json(args.json, whole)


def prepared_for(plan: Mapping[str, Any], args: Any, task: str, seed: int) -> Prepared:
    """A run's teacher, space and proxy."""
    flags = {**plan["settings"], **plan["tasks"].get(task, {}), "task": task, "seed": seed}
    flags |= {"data_dir": args.data_dir, "out": args.out / task / str(seed), "pruned": "ziplm"}
    flags |= {"sparsity": 0.0, "teacher": args.teacher, "threads": args.threads}
    settings: Settings = load_settings((), {k: v for k, v in flags.items() if v is not None})
    context = open_context(Run.create(with_latency_input(settings)))
    inputs = read_inputs(context)
    return prepare(context, inputs, load_given_teacher(context, inputs))


def students_of(
    prepared: Prepared, plan: Mapping[str, Any]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Target, method, and the score and speed of each student."""
    methods = {name: given for name, given in plan["methods"].items() if name != DENSE}
    for target in targets(plan):
        speedup = None
        for name, given in methods.items():
            pruning = replace(target, method=given["method"])
            words = tuple(map(str, given.get("assistants", ())))
            if problem_of_assistants(words, target.sparsity or None):
                continue
            shape = prepared.inputs.space.teacher
            candidate = Candidate(shape, pruning=pruning, assistants=words)
            folder = prepared.context.run.folder / target.target / name
            try:
                train_student(prepared, Winner(candidate), folder, folder.parent)
            except MissedLimitError as error:
                say(str(error))
                continue
            result = measured_student(prepared, candidate, folder)
            speedup = speedup or result["speedup"]
            yield target.target, name, result
        if DENSE in plan["methods"] and speedup:
            like = Candidate(prepared.inputs.space.teacher)
            candidate = pick_by_hand(prepared, like, near=speedup)[0]
            folder = prepared.context.run.folder / target.target / DENSE
            distil(prepared, candidate, None, folder)
            yield target.target, DENSE, measured_student(prepared, candidate, folder)


def targets(plan: Mapping[str, Any]) -> list[Pruning]:
    """How far, by no method yet."""
    speedups = [Pruning("", speedup=float(one)) for one in plan.get("speedups", ())]
    return [*speedups, *(Pruning("", sparsity=float(one)) for one in plan.get("sparsities", ()))]


def measured_student(prepared: Prepared, candidate: Candidate, folder: Path) -> dict[str, Any]:
    """Main score and speed-up."""
    found, main = measured(prepared, candidate, folder), prepared.inputs.data.spec.main_score
    return {"score": found["scores"][main], "speedup": found["costs"]["speedup"]}


def entry(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Over seeds."""
    scores = [one["score"] for one in results]
    return {
        "mean": round(fmean(scores), 4),
        "std": round(stdev(scores), 4) if len(scores) > 1 else None,
        "speedup_onnx": round(fmean(one["speedup"] for one in results), 2),
        "seeds": [one["seed"] for one in results],
    }


def table(task: str, found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """Markdown: a row a method, a column a target."""
    methods = dict.fromkeys(name for each in found.values() for name in each)
    lines = ["", f"**{task}**", "", f"| method | {' | '.join(found)} |"]
    lines.append("|---" * (len(found) + 1) + "|")
    for name in methods:
        cells = [
            f"{each[name]['mean']:.4f} ({each[name]['speedup_onnx']:.2f}x)" if name in each else "-"
            for each in found.values()
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
