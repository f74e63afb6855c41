"""Searches on a table in figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tables import OBJECTIVES, Floats, Objective, Table

CHECKPOINTS = (10, 20, 40)
# Random search is cheap and needs long: its median should not be cut off.
RANDOM_TIMES = 4


def summarise(
    searches: Sequence[dict[str, Any]],
    table: Table,
    objectives: Sequence[str],
    samplers: Sequence[str],
    trials: int,
) -> dict[str, Any]:
    """By objective and sampler: evaluations until the goal, and the course's mean on the way."""
    result: dict[str, Any] = {"students": len(table.rows), "trials": trials, "objectives": {}}
    for name in objectives:
        objective = OBJECTIVES[name](table)
        own = [s for s in searches if s["objective"] == name]
        rows = {
            sampler: _figures([s for s in own if s["sampler"] == sampler], objective)
            for sampler in samplers
            if any(s["sampler"] == sampler for s in own)
        }
        if "random" in rows:
            for figures in rows.values():
                figures["ratio"] = round(figures["median"] / rows["random"]["median"], 3)
        result["objectives"][name] = {"measure": objective.label, "samplers": rows}
    return result


def _figures(searches: Sequence[dict[str, Any]], objective: Objective) -> dict[str, Any]:
    courses = [objective.course(search["rows"]) for search in searches]
    arrivals = [arrival(course, objective.goal) for course in courses]
    lower, median, upper = np.quantile(arrivals, [0.25, 0.5, 0.75], method="higher").tolist()
    figures: dict[str, Any] = {
        "seeds": len(searches),
        "median": median,
        "quartiles": [lower, upper],
        "arrived": round(
            float(np.mean([a <= len(c) for a, c in zip(arrivals, courses, strict=True)])), 2
        ),
    }
    for count in CHECKPOINTS:
        reached = [course[min(count, len(course)) - 1] for course in courses]
        figures[f"after {count}"] = round(float(np.mean(reached)), 2)
    if objective.excess is not None:
        refused = [s["infeasible"][min(CHECKPOINTS[-1], len(s["rows"])) - 1] for s in searches]
        figures["infeasible"] = round(float(np.mean(refused)), 1)
    figures["seconds"] = round(float(np.mean([search["seconds"] for search in searches])), 3)
    return figures


def arrival(course: Floats, goal: float) -> int:
    """Evaluations until a course is at the goal; one more than it has where it never is."""
    # The goal is a quotient like those in the course, but of other integers.
    there = np.flatnonzero(np.asarray(course) <= goal + 1e-9)
    return int(there[0]) + 1 if len(there) else len(course) + 1


def to_markdown(summary: dict[str, Any]) -> str:
    """One table an objective."""
    lines = []
    for name, part in summary["objectives"].items():
        lines += [f"\n**{name}**, {part['measure']}\n"]
        means = " | ".join(f"after {count}" for count in CHECKPOINTS)
        lines += [f"| sampler | median [quartiles] | : random | {means} | infeasible | s |"]
        lines += ["|---|---|---|---|---|---|---|---|"]
        for sampler, row in part["samplers"].items():
            most = summary["trials"] * (RANDOM_TIMES if sampler == "random" else 1)
            lower, median, upper = (
                f">{most}" if count > most else str(count)
                for count in (row["quartiles"][0], row["median"], row["quartiles"][1])
            )
            ratio = (
                f"{'>' if median.startswith('>') else ''}{row['ratio']}" if "ratio" in row else ""
            )
            values = [f"{median} [{lower}, {upper}]", ratio]
            values += [row[f"after {count}"] for count in CHECKPOINTS]
            values += [row.get("infeasible", ""), row["seconds"]]
            lines += [f"| {sampler} ({row['seeds']}) | " + " | ".join(map(str, values)) + " |"]
    return "\n".join(lines)
