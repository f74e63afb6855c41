"""What a search is worth: beside a person's pick and other searches, at equal time and speed.

    python benchmarks/search_worth.py --data-dir DATA --out runs/worth --json docs/results.json

For each task, speed and seed, each method has the same wall clock (`budget` of the plan):

- `search`: as `kdnas search --budget` finds them, with the options in a plan's `search`;
- `hand-picked`: half the teacher's layers, as wide as makes it as fast as the search's student (as
  was asked, where the search has none), by the recipe that the plan has in `fixed` for a task (else
  `default`); trained with one seed after another, the best ships;
- `random recipes`: the same shape by one recipe after another, drawn at random;
- `random search` and `tpe`: as `search`, by these samplers and without a warm start.

Each seed has a teacher of its own, which no method's time includes. Everything ships by its score
on held-out training rows; what is compared are scores on the split that nobody trained on. A pair
counts where speeds, timed side by side, are within 5%. A search that keeps the speed-up with no
student is `missed`. Each cell is a line of OUT/seed-N/results.jsonl, and a search in the middle of
one goes on, so that the command can be stopped and repeated. `--json` adds to the entry
`search-worth`: its pairs replace those of the same task, speed, seed and kind of machine, others
stay, and benchmarks/worth_figures.py prints the table of all of them.

A plan's `settings`, and those of each of its tasks, are options of `kdnas search`, for all methods:
`teacher: FOLDER` and `tasks: {NAME: ENTRY}` point it at a teacher and tasks of one's own; a task of
the plan may be the path of its YAML file, too. benchmarks/search_worth_own.yaml is an example. The
plan is checked before anything is computed; cells in OUT by another plan or budget are refused.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from command_line import in_one_line, this_command
from plans import read_plan, wanted_tasks
from quality import add_arguments, refuse_other_cells, result_of, rows_in, run_plan, seeds_of
from support.stepwise import Stepwise
from worth_figures import (
    BESIDE,
    METHODS,
    PICKED,
    SEARCH,
    entry,
    machine_kind,
    merged,
    plain,
    results,
    results_files,
    seed_folder,
    table,
)

from kdnas import load_run, search
from kdnas.config import find_recipe, load_settings
from kdnas.config.duration import seconds_of
from kdnas.config.shape import HEADS, LAYERS, NEURONS, WIDTH
from kdnas.errors import KdnasError, MissedLimitError
from kdnas.files.atomic import read_json, write_json
from kdnas.report.model import SEARCHED, Report
from kdnas.runs.clock import seconds_before
from kdnas.runs.run_folder import Run, holds_run
from kdnas.scoring.costs import FINAL
from kdnas.space import AnyArchitecture, Architecture, Candidate, SearchSpace
from kdnas.space.candidate import DEFAULT_RECIPE
from kdnas.space.given_shape import complete
from kdnas.space.pruned import architecture_from_params
from kdnas.tasks import load_spec
from kdnas.tasks.load import open_source
from kdnas.workflow.preparing.early import check_purpose

SEARCHES: dict[str, dict[str, Any]] = {
    SEARCH: {"sampler": "gp"},
    "random search": {"sampler": "random", "warm_start": False},
    "tpe": {"sampler": "tpe", "warm_start": False},
}

# What a search chooses, and a person does not.
OF_CHOICE = ("recipes", "search_over")
# How near a hand-picked shape shall come in speed, and by what its neurons are multiplied for that.
NEAR, FACTORS = 0.02, (0.7, 0.85, 1.0, 1.15, 1.3)


@dataclass(frozen=True)
class Made:
    """The student that a method ships; no score where none kept the speed-up."""

    scores: dict[str, float]
    selection: dict[str, float]
    shape: dict[str, Any]
    recipe: str
    seconds: float
    tried: int

    @property
    def held_out(self) -> float:
        """Its main score on held-out training rows."""
        return next(iter(self.selection.values()))


@in_one_line()
def main() -> None:
    """Trains what is missing; prints a table, writes the entry."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_arguments(parser, Path(__file__).with_name("search_worth.yaml"))
    parser.add_argument("--methods", nargs="*", default=METHODS, choices=METHODS)
    parser.add_argument("--speeds", type=float, nargs="*", help="In place of the plan's.")
    parser.add_argument("--budget", help="In place of the plan's.")
    _compare(parser.parse_args())


def _compare(args: argparse.Namespace) -> None:
    plan, seeds = read_plan(args.plan), seeds_of(args)
    names = {own["task"]: name for name, own in plan["tasks"].items()}
    plan["fixed"] = {names.get(task, task): one for task, one in (plan.get("fixed") or {}).items()}
    plan |= {key: vars(args)[key] for key in ("speeds", "budget") if vars(args)[key]}
    plan["speeds"] = list(map(plain, plan.get("speeds") or ()))
    if wrong := list(dict.fromkeys(problems(plan, args))):
        raise KdnasError("\n".join(wrong))
    whole_out = args.out
    refuse_other_plans(whole_out, plan)
    for seed in seeds:
        one = argparse.Namespace(**{**vars(args), "from_seed": seed, "seeds": seed + 1})
        one.out = seed_folder(whole_out, seed)
        run_plan(planned(plan, args.methods, seed), one, partial(cell, one))
    frame = results(whole_out)
    if args.json and len(frame):
        whole = read_json(args.json) or {}
        found = {**entry(frame), "command": this_command()}
        whole["search-worth"] = merged(whole.get("search-worth", {}), found)
        write_json(args.json, whole)
    print("\n".join(table(frame)))


def problems(plan: dict[str, Any], args: argparse.Namespace) -> Iterator[str]:
    """What is wrong with a plan, a line each, found before anything is computed."""
    if missing := [key for key in ("budget", "speeds", "recipes") if not plan.get(key)]:
        yield from (f"{args.plan} has no {key}" for key in missing)
        return
    for task in plan["fixed"]:
        if task not in plan["tasks"]:
            known = ", ".join(plan["tasks"])
            yield f"{args.plan}: fixed names {task}, which is none of its tasks: {known}"
    methods = [one for one in args.methods if one in SEARCHES] or [SEARCH]
    for task in wanted_tasks(plan, args):
        searches = [
            search_options(plan, args, task, {"speed": speed, "method": method}, args.from_seed)
            for speed, method in itertools.product(plan["speeds"], methods)
        ]
        own = {key: value for key, value in searches[0].items() if key not in OF_CHOICE}
        for given in (*searches, {**own, "recipe": fixed_recipe(plan, task)}):
            try:
                settings = load_settings((), given)
                check_purpose(settings, searches=True)
                open_source(load_spec(given["task"], settings.tasks), settings.data_dir)
            except KdnasError as error:
                yield f"{args.plan}, {task}: {error}"


def refuse_other_plans(out: Path, plan: dict[str, Any]) -> None:
    """Raises KdnasError where another plan made a cell: figures are of all seeds and speeds."""
    for file in results_files(out):
        speeds = list(dict.fromkeys(row["speed"] for row in rows_in(file)))
        refuse_other_cells(file, planned({**plan, "speeds": speeds}))


def planned(
    plan: dict[str, Any], methods: Sequence[str] = METHODS, seed: int = 0
) -> dict[str, Any]:
    """A plan with a variant for each speed and method, the search of a speed first.

    All of a seed share its teacher and its rows.
    """
    variants = [
        {"name": f"{speed}x {method}", "speed": speed, "method": method, "settings": {}}
        for speed, method in itertools.product(plan["speeds"], sorted(methods, key=METHODS.index))
    ]
    # Where any recipe reads a transfer set, `pipeline_of` sees at once whether it can be made.
    names = dict.fromkeys([*plan["recipes"], *plan.get("fixed", {}).values()])
    stages = [recipe_settings(name)["stages"] for name in names]
    reading = [one for one in stages if any(stage["data"] == "transfer" for stage in one)]
    settings = {**(plan.get("settings") or {}), "seed": seed}
    return {**plan, "settings": settings, "variants": variants, "stages": reading[:1]}


def cell(
    args: argparse.Namespace,
    pipeline: Stepwise,
    plan: dict[str, Any],
    variant: dict[str, Any],
    seed: int,
) -> dict[str, Any]:
    """What a method makes of a task at a speed, with one seed."""
    speed, method = variant["speed"], variant["method"]
    found = {"speed": speed, "method": method, "machine": machine_kind()}
    beside = list[AnyArchitecture]()
    if method in SEARCHES:
        made = searched(args, pipeline, plan, variant, seed)
    else:
        like = searchs_row(args.out, task_of(pipeline), speed, seed)
        beside = [architecture_from_params(like["shape"])] if like.get("scores") else []
        names = recipes_for(plan, pipeline, method, seed)
        shape = as_fast(pipeline, beside[0] if beside else float(speed))
        made = by_hand(pipeline, plan, shape, names, seed)
    if not made.scores:
        return {**found, "speedup": None, "missed": True, **vars(made)}
    own = architecture_from_params(made.shape)
    fast = [round(one, 3) for one in speedups(pipeline, [own, *beside])]
    return {**found, **dict(zip(("speedup", BESIDE), fast, strict=False)), **vars(made)}


def searchs_row(out: Path, task: str, speed: float, seed: int) -> dict[str, Any]:
    """What the search came to in a cell; empty where it did not run."""
    found = {"task": task, "variant": f"{speed}x {SEARCH}", "seed": seed}
    rows = rows_in(out / "results.jsonl")
    return next((row for row in rows if found.items() <= row.items()), {})


def searched(
    args: argparse.Namespace,
    pipeline: Stepwise,
    plan: dict[str, Any],
    variant: dict[str, Any],
    seed: int,
) -> Made:
    """The student of a search, which has the fine-tuned teacher from the cache."""
    task = task_of(pipeline)
    out = args.out.resolve() / "searches" / task / f"{variant['name']} {seed}".replace(" ", "-")
    given = search_options(plan, args, task, variant, seed)
    # One that was killed had some of its time before.
    before = seconds_before(Run.open(out)) if holds_run(out) else 0.0
    start = time.perf_counter()
    try:
        report = search(out=out, **given).report
    except MissedLimitError:
        report = None
    seconds = before + time.perf_counter() - start
    if report is None:
        tried = len(load_run(out).scored) if holds_run(out) else 0
        return Made({}, {}, {}, "", seconds, tried)
    made = own_student(report, seconds)
    shutil.rmtree(out)
    return made


def search_options(
    plan: Mapping[str, Any],
    args: argparse.Namespace,
    task: str,
    variant: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    """The options of a search, but its folder."""
    given = {
        "task": task,
        **plan_values(plan, task),
        **(plan.get("search") or {}),
        **SEARCHES[variant["method"]],
        "data_dir": args.data_dir,
        "corpus": args.corpus and str(args.corpus),
        "threads": args.threads,
        "recipes": ",".join(map(str, plan["recipes"])),
        "speedup": float(variant["speed"]),
        "budget": plan["budget"],
        "random_control": "off",
        "seed": seed,
    }
    return {name: value for name, value in given.items() if value is not None}


def plan_values(plan: Mapping[str, Any], task: str) -> dict[str, Any]:
    """The options that a plan sets for a task, whatever the method."""
    return {**(plan.get("settings") or {}), **(plan["tasks"][task] or {})}


def own_student(report: Report, seconds: float) -> Made:
    """What the search found, whether it or a control ships."""
    own = next((one for one in report.controls if one.name == SEARCHED), report.student)
    held = report.selection.scores[SEARCHED] if report.selection else float("nan")
    shape, tried = dict(own.architecture.params), report.search.seen if report.search else 0
    selection = {report.main_score: held}
    return Made(dict(own.scores), selection, shape, own.recipe or "", seconds, tried)


def by_hand(
    pipeline: Stepwise,
    plan: dict[str, Any],
    shape: Architecture,
    recipes: Iterator[str],
    seed: int,
) -> Made:
    """The best, on held-out rows, of what there is time for: one training at least."""
    budget, start = float(seconds_of(plan["budget"])), time.perf_counter()
    best, tried, took = None, 0, 0.0
    while best is None or time.perf_counter() - start + took < budget:
        begun = time.perf_counter()
        recipe, again = next(recipes), seed + 1000 * tried
        variant = {"name": f"{shape.label} {recipe}", "student": "own"}
        settings = recipe_settings(recipe, plan_values(plan, task_of(pipeline)))
        variant |= {"settings": settings}  # type: ignore[dict-item]
        own = {**plan, "students": {"own": shape.params}}
        row, tried = result_of(pipeline, own, variant, again), tried + 1
        took = time.perf_counter() - begun
        seconds = time.perf_counter() - start
        made = Made(row["scores"], row["selection"], dict(shape.params), recipe, seconds, tried)
        if best is None or made.held_out > best.held_out:
            best = made
    return Made(**{**vars(best), "seconds": time.perf_counter() - start, "tried": tried})


def recipes_for(
    plan: Mapping[str, Any], pipeline: Stepwise, method: str, seed: int
) -> Iterator[str]:
    """The recipes that a person tries one after the other."""
    if method == PICKED:
        return itertools.repeat(fixed_recipe(plan, task_of(pipeline)))
    drawn = np.random.default_rng(seed).permutation(plan["recipes"])
    return itertools.cycle(map(str, drawn))


def fixed_recipe(plan: Mapping[str, Any], task: str) -> str:
    """The recipe that a person takes for a task."""
    return str(plan.get("fixed", {}).get(task, DEFAULT_RECIPE))


def recipe_settings(name: str, given: Collection[str] = ()) -> dict[str, Any]:
    """A recipe as the settings of a variant; what a plan has `given` wins, as in a search."""
    recipe = find_recipe(name)
    stages = [stage.model_dump(mode="json", exclude_defaults=True) for stage in recipe.stages]
    own = {key: value for key, value in recipe.settings.items() if key not in given}
    return {**own, "stages": stages}


def as_fast(pipeline: Stepwise, like: AnyArchitecture | float) -> Architecture:
    """Half the teacher's layers, of the width that comes nearest in speed, timed side by side.

    Where no width comes within `NEAR`, feed-forward sizes a little smaller and larger are tried.
    `like` is the shape whose speed it shall have, or a speed-up.
    """
    space = pipeline.space
    teacher = space.teacher
    heads, ratio = teacher.num_attention_heads, teacher.intermediate_size / teacher.hidden_size
    depth = -(-teacher.num_hidden_layers // 2)
    step = heads * space.head_multiple  # the finest there is: speeds shall be near
    every = range(2 * step, teacher.hidden_size + 1, step)
    widths = [width for width in every if width not in space.excluded_sizes]
    low, high = 0, len(widths) - 1
    while low < high:  # speed falls as width grows
        middle = (low + high) // 2
        [ours], theirs = _timed(pipeline, [picked_shape(space, depth, widths[middle], ratio)], like)
        low, high = (middle + 1, high) if ours > theirs else (low, middle)
    around = widths[max(0, low - 2) : low + 3]
    shape, apart = _nearest(pipeline, like, [picked_shape(space, depth, w, ratio) for w in around])
    if apart <= NEAR:
        return shape
    at = around.index(shape.hidden_size)
    some = [
        picked_shape(space, depth, width, factor * ratio)
        for width, factor in itertools.product(around[max(0, at - 1) : at + 2], FACTORS)
    ]
    other, still = _nearest(pipeline, like, some)
    return other if still < apart else shape


def _nearest(
    pipeline: Stepwise, like: AnyArchitecture | float, shapes: Sequence[Architecture]
) -> tuple[Architecture, float]:
    """The shape nearest to a speed, and how far it is, as a logarithm."""
    each, theirs = _timed(pipeline, shapes, like)
    apart = np.abs(np.log(np.array(each) / theirs))
    return shapes[int(apart.argmin())], float(apart.min())


def _timed(
    pipeline: Stepwise, shapes: Sequence[Architecture], like: AnyArchitecture | float
) -> tuple[list[float], float]:
    """The speeds of shapes, and the one that they shall have."""
    if isinstance(like, float):
        return speedups(pipeline, shapes), like
    *each, theirs = speedups(pipeline, [*shapes, like])
    return each, theirs


def picked_shape(space: SearchSpace, depth: int, width: int, ratio: float) -> Architecture:
    """A shape in the teacher's proportions, with a decoder where it has one.

    Heads are as many as the teacher's, or as wide where they have a size of their own.
    """
    teacher, neurons = space.teacher, round(ratio * width)
    given: dict[str, int | str] = {LAYERS: depth, WIDTH: width}
    given |= {NEURONS: min(neurons, teacher.intermediate_size)}
    if not teacher.own_head_size:
        given |= {HEADS: teacher.num_attention_heads}
    return complete(given, space)


def speedups(pipeline: Stepwise, shapes: Sequence[AnyArchitecture]) -> list[float]:
    """How many times as fast as the teacher shapes are, all timed in one go."""
    return pipeline.meter.speedups([Candidate(shape) for shape in shapes], FINAL)


def task_of(pipeline: Stepwise) -> str:
    """The task as the plan names it."""
    return pipeline.run.folder.name


if __name__ == "__main__":
    main()
