"""Plans of benchmarks: what a YAML file names, checked before anything is computed."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from kdnas.config import read_yaml
from kdnas.config.names import split
from kdnas.errors import KdnasError
from kdnas.runtime.shown import quoted, shown
from kdnas.tasks import load_spec

# Parts of plans by their kind, each with an example of its value.
MAPPINGS = {
    **{"tasks": "{mrpc: {}}", "settings": "{max_length: 128}", "fixed": "{mrpc: relations}"},
    **{"students": "{4x: {pruning: ziplm, pruned_to_speedup: 4}}", "search": "{finalists: 3}"},
    "methods": "{ziplm: {method: ziplm}}",
}
LISTS = {
    **{"speeds": "[2, 4]", "speedups": "[2, 4]", "sparsities": "[0.5, 0.9]"},
    **{"recipes": "[default]", "variants": "[{name: 4x, student: 4x, settings: {}}]"},
}
# Mappings whose values are mappings, too, or empty.
OF_MAPPINGS = ("tasks", "students", "methods")
OF_NUMBERS = ("speeds", "speedups", "sparsities")


def read_plan(file: Path) -> dict[str, Any]:
    """The plan in a YAML file, its tasks by their names, which folders and results have, too.

    Raises:
        KdnasError: It cannot be read, or a part of it is of another kind; it has no tasks, an
            unknown one, or two of one name.
    """
    plan = read_parts(file)
    if not plan.get("tasks"):
        raise KdnasError(f"{file} names no tasks; give some, such as tasks: {{mrpc: {{}}}}")
    known, tasks = (plan.get("settings") or {}).get("tasks"), dict[str, Any]()
    for task, own in plan["tasks"].items():
        name = load_spec(str(task), known).name
        if name in tasks:
            raise KdnasError(f"{file} has two tasks called {name!r}; rename one")
        tasks[name] = {"task": str(task), **(own or {})}
    return {**plan, "tasks": tasks}


def read_parts(file: Path) -> dict[str, Any]:
    """The parts of a plan, each of its kind; students and variants are there, if empty.

    Raises:
        KdnasError: The file cannot be read, or a part of it is of another kind.
    """
    plan = read_yaml(file)
    if isinstance(plan.get("recipes"), str):
        plan["recipes"] = split(plan["recipes"])
    for kind, words, examples in ((dict, "mapping", MAPPINGS), (list, "list", LISTS)):
        for part, example in examples.items():
            if not isinstance(plan.get(part) or kind(), kind):
                raise KdnasError(
                    f"invalid {shown(file)}: {part} is {quoted(plan[part])}; expected a {words}, "
                    f"such as {part}: {example}"
                )
    for part in OF_MAPPINGS:
        for name, one in (plan.get(part) or {}).items():
            if not isinstance(one or {}, dict):
                raise KdnasError(
                    f"invalid {shown(file)}: {name} of {part} is {quoted(one)}; expected a mapping"
                )
    for part in OF_NUMBERS:
        for one in plan.get(part) or ():
            if isinstance(one, bool) or not isinstance(one, int | float):
                raise KdnasError(f"{file}: {part} has {one!r}; give numbers, such as {LISTS[part]}")
    students = plan.get("students") or {}
    return {**plan, "students": students, "variants": _variants(plan.get("variants"), file)}


def _variants(given: list[Any] | None, file: Path) -> list[dict[str, Any]]:
    """Each with a name of its own, and settings, if none."""
    found = list[dict[str, Any]]()
    for one in given or ():
        whole = isinstance(one, dict) and one.get("name")
        if not whole or not isinstance(one.get("settings") or {}, dict):
            raise KdnasError(
                f"invalid {shown(file)}: variants has {quoted(one)}; expected a mapping with a "
                f"name and settings, such as {LISTS['variants']}"
            )
        names = {part: str(one[part]) for part in ("name", "student") if part in one}
        found.append({**one, **names, "settings": one.get("settings") or {}})
    for name, times in Counter(one["name"] for one in found).items():
        if times > 1:
            raise KdnasError(f"{file} has two variants called {name!r}; rename one")
    return found


def wanted_tasks(plan: dict[str, Any], args: argparse.Namespace) -> list[str]:
    """The plan's tasks, or those of them that are asked for, by their names.

    Raises:
        KdnasError: One that is asked for is not in the plan.
    """
    known = {name: {name, (own or {}).get("task")} for name, own in plan["tasks"].items()}
    if unknown := [one for one in args.tasks or () if not any(one in n for n in known.values())]:
        raise KdnasError(
            f"--tasks {unknown[0]} is not in {args.plan}, which has {', '.join(known)}"
        )
    return [name for name, names in known.items() if not args.tasks or names & {*args.tasks}]
