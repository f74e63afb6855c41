"""Pruned students by several methods, to the same sparsities and speed-ups, beside dense ones.

    python benchmarks/pruned.py --data-dir DATA --out runs/pruned --tasks mrpc --seeds 0 1 2 \
        --threads 1 --json docs/results.json

Each task and seed is a run folder below OUT, whose students are distilled by kdnas's own steps.
Each student is a cell: `--targets 80% 4x` and `--methods ziplm dense` make some of them, and the
command can be stopped and repeated. Means are over all seeds that OUT has of a cell, those that
earlier commands made, too. Speeds are those of the sliced student in ONNX Runtime, seconds those of
training a student and its assistants.

`--json` adds to the entry `pruned`: task -> target -> method -> mean, std, speedup_onnx, seconds,
seeds and the command that made it; `best MaxiDisc` is the path with the best mean, its seconds are
those of all paths, of which assistants that several share count once.
"""

from __future__ import annotations

import argparse
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, get_args

from command_line import a_count, a_result, in_one_line, none_or_more, this_command
from plans import MAPPINGS, read_plan, wanted_tasks

from kdnas.config import Settings, load_settings, nearest
from kdnas.config.assistants import in_words, problem_of_assistants
from kdnas.config.choices import PruningMethod
from kdnas.config.names import split
from kdnas.errors import KdnasError
from kdnas.files.artifact import key_of
from kdnas.files.atomic import read_json, write_json
from kdnas.runs.context import open_context, run_step
from kdnas.runs.run_folder import Run
from kdnas.runtime.console import say
from kdnas.runtime.shown import quoted
from kdnas.space import Candidate, Pruning
from kdnas.study.winner import Winner
from kdnas.tasks import load_spec
from kdnas.tasks.defaults import with_type_defaults
from kdnas.tasks.load import open_source
from kdnas.workflow.distilling.assistants import assistants_of
from kdnas.workflow.distilling.distil import distil, step_name
from kdnas.workflow.distilling.measure import measured
from kdnas.workflow.distilling.train_students import own_student, train_all, train_assistants
from kdnas.workflow.preparing.inputs import (
    check_same_data,
    load_given_teacher,
    read_inputs,
    with_latency_input,
)
from kdnas.workflow.preparing.prepare import Prepared, prepare
from kdnas.workflow.preparing.pruned import measure_pruning
from kdnas.workflow.searching.hand_picked import pick_by_hand

DENSE, GRID = "dense", "MaxiDisc"
PRUNING_METHODS = get_args(PruningMethod)
# Cells of a task, by target and method, one of each seed.
Cells = dict[str, dict[str, list[dict[str, Any]]]]


@dataclass(frozen=True)
class Method:
    """How the students of a column are pruned, and who teaches them."""

    name: str
    method: str
    assistants: tuple[str, ...] = ()
    layers: int = 0
    of: str = ""  # the plan's method, of which a grid makes several


@in_one_line()
def main() -> None:
    """Makes what is missing; prints a table, adds to the entry."""
    args = _arguments()
    plan = read_plan(args.plan)
    check_plan(plan, args)
    results: dict[str, Any] = {}
    for task in wanted_tasks(plan, args):
        cells = every_cell(plan, args, task)
        results[task] = {target: entries(each) for target, each in cells.items()}
        print("\n".join(table(task, results[task])))
    if args.json:
        write_json(args.json, merged(read_json(args.json) or {}, results))


def check_plan(plan: Mapping[str, Any], args: Any) -> None:
    """Raises KdnasError where a plan cannot be run, or has not what is asked for."""
    if twice := [seed for seed, times in Counter(args.seeds).items() if times > 1]:
        raise KdnasError(f"--seeds names {twice[0]} more than once; give each seed once")
    if not plan.get("methods"):
        raise KdnasError(f"{args.plan} has no methods; give some, such as {MAPPINGS['methods']}")
    for name, given in plan["methods"].items():
        _check_method(name, given or {}, args.plan)
    known = {"targets": [one.target for one in targets(plan)], "methods": [*plan["methods"], DENSE]}
    if not known["targets"]:
        raise KdnasError(f"{args.plan} has neither speedups nor sparsities; give some")
    for what, those in known.items():
        if unknown := [one for one in getattr(args, what) or () if one not in those]:
            has = ", ".join(dict.fromkeys(those))
            raise KdnasError(f"--{what} {unknown[0]} is not in {args.plan}, which has {has}")
    for task in wanted_tasks(dict(plan), args):
        settings = settings_of(plan, args, task, args.seeds[0])
        open_source(load_spec(settings.task or task, settings.tasks), settings.data_dir)


def _check_method(name: str, given: Mapping[str, Any], plan: Path) -> None:
    """Raises KdnasError where a plan's method is none."""
    if name == DENSE:
        return
    if (method := given.get("method")) not in PRUNING_METHODS:
        hint = nearest(str(method), PRUNING_METHODS)
        raise KdnasError(f"{plan}: {name} has the method {quoted(method)}{hint}")
    grid = given.get("grid") or {}
    parts = (grid.get("sparsities"), grid.get("assistants")) if grid else ()
    if not all(isinstance(part, list) for part in parts):
        raise KdnasError(f"{plan}: the grid of {name} lacks a list of sparsities or of assistants")


def every_cell(plan: Mapping[str, Any], args: Any, task: str) -> Cells:
    """The cells of a task that are asked for, of other seeds in OUT, too, if they are done.

    Raises:
        KdnasError: OUT has a seed by other settings.
    """
    others = [
        (seed, Run.create(settings_of(plan, args, task, seed)))
        for seed in seeds_in(args.out / task)
        if seed not in args.seeds
    ]
    cells, made_in = Cells(), dict[tuple[str, str], Run]()
    for seed in args.seeds:
        prepared = prepared_for(plan, args, task, seed)
        for target, method, cell in cells_of(prepared, plan, args):
            cells.setdefault(target, {}).setdefault(method, []).append({**cell, "seed": seed})
            made_in[target, method] = prepared.context.run
    for (target, method), like in made_in.items():
        own = cells[target][method]
        for seed, run in others:
            if kept := kept_cell(run, like, target, method):
                own.append({**kept, "seed": seed})
        own.sort(key=lambda one: int(one["seed"]))
    return cells


def seeds_in(folder: Path) -> list[int]:
    """Those whose runs a task's folder has."""
    found = [file.parent.name for file in folder.glob("*/config.yaml")]
    return sorted(int(name) for name in found if name.isdecimal())


def cell_name(target: str, method: str) -> str:
    """Names a cell's folder and step."""
    return f"{target} {method}".replace(",", " ").replace(" ", "-")


def kept_cell(run: Run, like: Run, target: str, method: str) -> dict[str, Any] | None:
    """The result of another seed's cell, made as in a run `like` it; None where there is none."""
    name = f"cell {cell_name(target, method)}"
    # How fast a dense shape is to be may be measured, so that each seed has its own.
    source = run if method == DENSE else like
    step = run.step(name, key_of(source.step(name, {}).path) or {})
    return dict(step.read()) if step.done() else None


def prepared_for(plan: Mapping[str, Any], args: Any, task: str, seed: int) -> Prepared:
    """A run's teacher, space and proxy; raises KdnasError where its data changed."""
    context = open_context(Run.create(settings_of(plan, args, task, seed)))
    inputs = read_inputs(context)
    check_same_data(context, inputs.data)
    return prepare(context, inputs, load_given_teacher(context, inputs))


def settings_of(plan: Mapping[str, Any], args: Any, task: str, seed: int) -> Settings:
    """Those of a run that `kdnas distill --pruned` makes; the command's win over the plan's."""
    flags = {"task": task, **(plan.get("settings") or {}), **plan["tasks"][task], "seed": seed}
    flags |= {"data_dir": args.data_dir, "out": args.out / task / str(seed), "pruned": "ziplm"}
    given = {"teacher": args.teacher, "threads": args.threads}
    flags |= {"sparsity": 0.0, **{k: v for k, v in given.items() if v is not None}}
    settings: Settings = load_settings((), flags)
    spec = load_spec(settings.task or task, settings.tasks)
    return with_latency_input(with_type_defaults(settings, spec))


def cells_of(
    prepared: Prepared, plan: Mapping[str, Any], args: Any
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Target, method and result of each cell that is asked for; those that cannot be are told."""
    methods, shape = methods_of(plan), prepared.inputs.space.teacher
    for target in targets(plan):
        if args.targets and target.target not in args.targets:
            continue
        for one in methods:
            if args.methods and one.of not in args.methods:
                continue
            if problem_of_assistants(one.assistants, target.sparsity or None):
                continue
            pruning = Pruning(one.method, target.sparsity, target.speedup, layers=one.layers)
            candidate = Candidate(shape, pruning=pruning, assistants=one.assistants)
            try:
                yield target.target, one.name, cell_of(prepared, candidate, one.name)
            except KdnasError as error:  # out of reach, or an assistant smaller than its student
                say(f"{candidate.label}: {error}")
        if not args.methods or DENSE in args.methods:
            try:
                yield (
                    target.target,
                    DENSE,
                    dense_cell(prepared, target, near_for(prepared, target, methods)),
                )
            except KdnasError as error:  # the student that it is to be as fast as is out of reach
                say(f"{DENSE}, {target.target}: {error}")


def near_for(prepared: Prepared, target: Pruning, methods: Sequence[Method]) -> float:
    """The speed-up of a dense shape: what is asked, or that of a plan's first method.

    Raises:
        KdnasError: The plan has no method, or the student of it is out of reach.
    """
    if target.speedup:
        return target.speedup
    if not methods:
        raise KdnasError("a plan of dense shapes alone has speedups, no sparsities")
    first = Pruning(methods[0].method, target.sparsity)
    whole = Candidate(prepared.inputs.space.teacher, pruning=first)
    return float(cell_of(prepared, whole, methods[0].name)["speedup"])


def methods_of(plan: Mapping[str, Any]) -> list[Method]:
    """Those of a plan but the dense one, the grid written out."""
    found = list[Method]()
    for name, given in plan["methods"].items():
        if name == DENSE:
            continue
        words = given.get("assistants") or ()
        lists = [tuple(split(words) if isinstance(words, str) else map(str, words))]
        if grid := given.get("grid"):
            some = [f"{share:g}" for share in grid["sparsities"]]
            lists = [path for n in grid["assistants"] for path in itertools.combinations(some, n)]
        for path in lists:
            title = f"{name} {in_words(path)}" if grid else name
            found.append(Method(title, given["method"], path, given.get("layers", 0), name))
    return found


def targets(plan: Mapping[str, Any]) -> list[Pruning]:
    """How far, by no method yet."""
    speedups = [Pruning("", speedup=float(one)) for one in plan.get("speedups") or ()]
    sparsities = plan.get("sparsities") or ()
    return [*speedups, *(Pruning("", sparsity=float(one)) for one in sparsities)]


def cell_of(prepared: Prepared, candidate: Candidate, method: str) -> dict[str, Any]:
    """A student's result, made once."""
    name = cell_name(candidate.pruning.target, method)
    context = prepared.context
    folder = context.run.folder / "cells" / name

    def compute() -> dict[str, Any]:
        assert prepared.mini.pruned is not None, "the space has pruned students"
        measure_pruning(context, prepared.mini.pruned, candidate.pruning)  # no part of a training
        train_assistants(prepared, candidate)
        own = own_student(Winner(candidate), folder)
        train_all(prepared, own, None, [], context.run.folder / "cells" / "more")
        steps = [one.step for one in assistants_of(context, candidate)]
        return result_of(prepared, candidate, folder, steps)

    found: dict[str, Any] = run_step(context, f"cell {name}", candidate.params, compute)
    return found


def dense_cell(prepared: Prepared, target: Pruning, speedup: float) -> dict[str, Any]:
    """The result of a shape picked by hand that is about as fast."""
    folder = prepared.context.run.folder / "cells" / cell_name(target.target, DENSE)

    def compute() -> dict[str, Any]:
        like = Candidate(prepared.inputs.space.teacher)
        candidate = pick_by_hand(prepared, like, speedup)[0]
        distil(prepared, candidate, None, folder)
        return {**result_of(prepared, candidate, folder, ()), "name": candidate.label}

    found: dict[str, Any] = run_step(
        prepared.context, f"cell {folder.name}", {"near": speedup}, compute
    )
    return found


def result_of(
    prepared: Prepared, candidate: Candidate, folder: Path, before: Sequence[str]
) -> dict[str, Any]:
    """Main score, speed-up, and what its training took, by step."""
    found, main = measured(prepared, candidate, folder), prepared.inputs.data.spec.main_score
    run = prepared.context.run
    seconds = run.seconds()
    steps = [*before, step_name(run, "distil", folder)]
    return {
        "score": found["scores"][main],
        "speedup": found["costs"]["speedup"],
        "seconds": {step: seconds[step] for step in steps},
    }


def entries(methods: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Of a target: each method over seeds, and the best path of the grid."""
    found = {name: entry(cells) for name, cells in methods.items()}
    grid = {name: cells for name, cells in methods.items() if name.startswith(f"{GRID} ")}
    if grid:
        best = max(grid, key=lambda name: float(found[name]["mean"]))
        by_seed: dict[int, dict[str, float]] = {}
        for cell in itertools.chain.from_iterable(grid.values()):
            by_seed.setdefault(cell["seed"], {}).update(cell["seconds"])
        seconds = fmean(sum(each.values()) for each in by_seed.values())
        found[f"best {GRID}"] = {**found[best], "path": best, "seconds": round(seconds, 1)}
    return found


def entry(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Over seeds."""
    scores = [one["score"] for one in cells]
    return {
        "mean": round(fmean(scores), 4),
        "std": round(stdev(scores), 4) if len(scores) > 1 else None,
        "speedup_onnx": round(fmean(one["speedup"] for one in cells), 2),
        "seconds": round(fmean(sum(one["seconds"].values()) for one in cells), 1),
        "seeds": [one["seed"] for one in cells],
    }


def merged(whole: dict[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
    """All results, each with its command, those of other cells as they were."""
    known = {**whole.get("pruned", {})}
    for task, by_target in results.items():
        before = known.get(task, {})
        for target, methods in by_target.items():
            made = {name: {**one, "command": this_command()} for name, one in methods.items()}
            before = {**before, target: {**before.get(target, {}), **made}}
        known[task] = before
    return {**whole, "pruned": known}


def table(task: str, found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """Markdown: a row a method, a column a target."""
    methods = dict.fromkeys(name for each in found.values() for name in each)
    lines = ["", f"**{task}**", "", f"| method | {' | '.join(found)} |"]
    lines.append("|---" * (len(found) + 1) + "|")
    for name in methods:
        cells = [
            f"{each[name]['mean']:.4f} ({each[name]['speedup_onnx']:.2f}x, "
            f"{each[name]['seconds']:.0f} s)"
            if name in each
            else "-"
            for each in found.values()
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--plan", type=Path, default=Path(__file__).with_name("pruned.yaml"))
    parser.add_argument("--teacher", help="Default: the plan's, else the embedded MiniLM.")
    parser.add_argument("--tasks", nargs="*", help="Default: all of the plan.")
    parser.add_argument("--targets", nargs="*", help="Such as 80%% or 4x; default: all.")
    parser.add_argument("--methods", nargs="*", help="Default: all of the plan.")
    parser.add_argument("--seeds", nargs="+", type=none_or_more, default=[0, 1, 2])
    parser.add_argument("--threads", type=a_count)
    parser.add_argument("--json", type=a_result)
    return parser.parse_args()


if __name__ == "__main__":
    main()
