"""`kdnas report RUN1 RUN2 ...`: several runs in one plot and one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from kdnas.errors import KdnasError
from kdnas.report.facts import Facts
from kdnas.report.figures import style
from kdnas.report.figures.final import main_metric
from kdnas.report.figures.students import AXES, SCORE, axis_layout, dots, front_of, winner_rows
from kdnas.report.page import Plotly, Section, Table, write_page
from kdnas.report.search import BUDGETS, search_summary
from kdnas.report.table import finished

TOLD = "The front of each run; stars are the winners, timed again at the end."
SHARES = "Scores are shares of the teacher's variance"
COLUMNS = {
    **{"name": "run", "teacher": "teacher", "task": "task", "sampler": "sampler"},
    **{"evaluated": "students", "reward": "best reward", "hypervolume": "hypervolume"},
    **{f"at_{b:g}": f"score at {b:g}x" for b in BUDGETS},
    **{"student": "student", "metric": "metric", "final": "its score", "speedup": "speed-up"},
}


def comparison(runs: dict[str, Facts]) -> list[dict[str, Any]]:
    """A row of plain values a run, keys as in COLUMNS; None where a value is not there yet.

    Raises:
        KdnasError: A run has no finished trial.
    """
    for name, facts in runs.items():
        if finished(facts.table).empty:
            raise KdnasError(f"{name} has no finished trial to compare; kdnas resume goes on")
    return [_row(name, facts) for name, facts in runs.items()]


def write_comparison(path: Path, runs: dict[str, Facts], plotly: Plotly = "inline") -> None:
    """Writes the page."""
    rows = comparison(runs)
    views = {name: _figure(runs, name) for name in AXES}
    table = Table(
        list(COLUMNS.values()), [[_shown(row[key]) for key in COLUMNS] for row in rows], open=True
    )
    section = Section("fronts", "Pareto fronts", _told(rows), views, table)
    write_page(path, f"{len(runs)} runs compared", [section], plotly=plotly)


def comparison_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The table for a terminal, at most 80 columns wide."""
    heads = ["students", "reward", *(f"{b:g}x" for b in BUDGETS), "final", "speed-up"]
    keys = ["evaluated", "reward", *(f"at_{b:g}" for b in BUDGETS), "final", "speedup"]
    lines = [f"{'best reward; score at':<24}" + "".join(f"{head:>9}" for head in heads[:6])]
    for row in rows:
        name = row["name"] if len(row["name"]) < 24 else "..." + row["name"][-20:]
        lines.append(f"{name:<24}" + "".join(f"{_shown(row[key]):>9}" for key in keys[:6]))
    return lines


def _told(rows: Sequence[dict[str, Any]]) -> str:
    """How to read the plot, and whether the scores of these runs compare at all."""
    found = {key: list(dict.fromkeys(str(row[key]) for row in rows)) for key in ("teacher", "task")}
    differ = [f"{key}s ({', '.join(names)})" for key, names in found.items() if len(names) > 1]
    if differ:
        return (
            f"{TOLD} {SHARES}; these runs have several {' and '.join(differ)}: do not compare them."
        )
    return f"{TOLD} {SHARES}."


def _row(name: str, facts: Facts) -> dict[str, Any]:
    settings = facts.settings.model_copy(update={"speedup": None})
    found = search_summary(settings, facts.table, facts.control, 0)
    best = {f"at_{b['speedup']:g}": b["search"] and b["search"]["score"] for b in found["budgets"]}
    report = facts.report
    metric = main_metric(report) if report else None
    return {
        "name": name,
        "teacher": Path(facts.study.user_attrs["teacher"]).name,
        "task": facts.task,
        "sampler": found["sampler"],
        "evaluated": found["evaluated"],
        "reward": found["best_reward"],
        "hypervolume": found["hypervolume"],
        **best,
        "student": report["student"]["name"] if report else None,
        "metric": metric,
        "final": report["student"]["scores"][metric] if report else None,
        "speedup": report["speedup"] if report else None,
    }


def _figure(runs: dict[str, Facts], view: str) -> go.Figure:
    axis = AXES[view]
    figure = style.figure(height=520)
    for i, (name, facts) in enumerate(runs.items()):
        colour = style.SEVERAL[i % len(style.SEVERAL)]
        symbol = style.SYMBOLS[i // len(style.SEVERAL) % len(style.SYMBOLS)]
        drawn = dots(front_of(facts.table, axis), axis, name, colour, 8, symbol)
        figure.add_trace(drawn.update(mode="lines+markers", line={"color": colour, "width": 2}))
        star = dots(winner_rows(facts), axis, f"{name}, winner", colour, 17, "star")
        figure.add_trace(star.update(showlegend=False))
    figure.update_xaxes(axis_layout(axis))
    figure.update_yaxes(title={"text": SCORE})
    return figure


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
