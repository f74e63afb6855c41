"""How long each step took, and where."""

from __future__ import annotations

from typing import Any

import pandas as pd

from kdnas.report.facts import Facts
from kdnas.report.figures import style
from kdnas.report.page import Section, Table
from kdnas.report.summary import timed_on
from kdnas.report.table import records
from kdnas.runtime.formatting import several

TITLE = "How long, and where"
LEAST_SECONDS = 0.5


def seconds_section(facts: Facts) -> Section:
    """A bar a step, the machines, and what each did for the search."""
    environment = facts.report["environment"] if facts.report else {}
    told = " ".join([*_where(environment), *_workers(facts.table)])
    rows = [(step, f"{seconds:.1f}", machine) for step, seconds, machine in facts.steps]
    shown = _summed(facts.steps)
    if not shown:
        missing = "" if rows else "The run has no log yet."
        return Section("seconds", TITLE, told, {}, Table(("step", "seconds", ""), rows), missing)
    figure = style.figure(height=80 + 24 * len(shown), margin=style.NO_LEGEND)
    figure.add_bar(
        x=[seconds for _, seconds in shown],
        y=[style.plain(step) for step, _ in shown],
        orientation="h",
        marker={"color": style.STUDENT},
        hovertemplate="%{y}: %{x:.1f} s<extra></extra>",
    )
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(title={"text": "seconds"})
    return Section(
        "seconds", TITLE, told, {"steps": figure}, Table(("step", "seconds", "machine"), rows)
    )


def _summed(steps: list[tuple[str, float, str]]) -> list[tuple[str, float]]:
    """Seconds of the steps that took any; the students of `kdnas fidelity` are one step."""
    found: dict[str, float] = {}
    for step, seconds, _ in steps:
        name = "fidelity" if step.startswith("fidelity ") else step
        found[name] = found.get(name, 0.0) + seconds
    return [(name, seconds) for name, seconds in found.items() if seconds >= LEAST_SECONDS]


def _where(environment: dict[str, Any]) -> list[str]:
    if not environment:
        return ["Seconds by step; steps that were taken up again count with all their parts."]
    return [
        f"On {environment['device']} ({environment['device_name']}), "
        f"{several(environment['threads'], 'thread')}, {environment['precision']}, "
        f"torch {environment['torch']}, Python {environment['python']}, "
        f"{environment['platform']}; latencies on {timed_on(environment)}."
    ]


def _workers(table: pd.DataFrame) -> list[str]:
    """What each machine did, where there were several."""
    seconds: dict[str, list[float]] = {}
    for row in records(table[table.machine.notna() & table.seconds.notna()]):
        seconds.setdefault(row["machine"], []).append(row["seconds"])
    if len(seconds) < 2:
        return []
    parts = [
        f"{name}: {several(len(each), 'trial')}, {sum(each):.0f} s"
        for name, each in seconds.items()
    ]
    return [f"The search by machine: {'; '.join(parts)}."]
