"""The course of a search, trial by trial."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from kdnas.report.data import ReportData
from kdnas.report.figures import style
from kdnas.report.page import Section, Table
from kdnas.report.trials_table import candidate_of, cells, finished, records
from kdnas.study.attributes import CONTINUES, INFEASIBLE, REPEATS, RUNG

TITLE = "Course of the search"
TOLD = (
    "Each dot is a trial, higher is better; lines are the best reward so far, of this search and "
    "of random search with the same budget. Students beyond a limit are not trained."
)
RUNGS = (
    " Dots with a core went on from their rung as another trial. Random search trains all of its "
    "students to the end, so its line ends flat."
)
EXPLORED = " Below: the share of trials that the controller leaves to chance."
HOVER = "trial %{x}<br>%{text}<br>reward %{y:.4f}"
HEAD = ("trial", "student", "state", "reward", "score", "speed-up", "proposed", "seconds")


def course_section(data: ReportData) -> Section:
    """Rewards over trials, what was pruned or repeated, and the controller's exploration."""
    explored = bool(data.table.epsilon.notna().any())
    told = TOLD + (RUNGS if data.settings.rungs > 1 else "") + (EXPLORED if explored else "")
    table = Table(HEAD, _rows(data.table))
    if data.table.reward.isna().all():
        return Section("search", TITLE, told, table=table, missing="No trial is scored yet.")
    return Section("search", TITLE, told, {"course": _figure(data, explored)}, table)


def _figure(data: ReportData, explored: bool) -> go.Figure:
    table = data.table
    figure = style.figure("trial", "reward", 520 if explored else 420)
    end = max(int(t.number.max()) for t in (table, data.control) if t is not None)
    if data.control is not None:
        _add_best(figure, data.control, end, "random search", style.RANDOM, "dot")
    _add_best(figure, table, end, "best so far", style.FRONT, "solid")
    rungs = table[table[RUNG].notna() & table[REPEATS].isna()]
    gone_on = rungs.number.isin(_successors(table))
    lowest = float(table.reward.min())  # what has no reward stands at the bottom
    beyond = table[table[INFEASIBLE].notna()].assign(reward=lowest)
    failed = table[table.state == "FAIL"].assign(reward=lowest)
    for rows, name, colour, symbol in (
        (finished(table), "evaluated", style.STUDENT, "circle"),
        (rungs[~gone_on], "stopped on a rung", style.STUDENT, "circle-open"),
        (rungs[gone_on], "went on", style.STUDENT, "circle-open-dot"),
        (table[table[REPEATS].notna()], "repeated", style.CONTROL, "diamond-open"),
        (beyond, "beyond a limit", style.MUTED, "x-thin-open"),
        (failed, "failed", style.CONTROL, "x"),
    ):
        shown = rows[rows.num_hidden_layers.notna()]
        if shown.empty:
            continue
        figure.add_scatter(
            x=shown.number.astype(int),
            y=shown.reward.astype(float),
            mode="markers",
            name=name,
            text=[_label(row) for row in records(shown)],
            marker={"color": colour, "symbol": symbol, "size": 8},
            hovertemplate=f"{HOVER}<extra>{name}</extra>",
        )
    if explored:
        _add_exploration(figure, table[table.epsilon.notna()], end)
    return figure


def _label(row: dict[str, Any]) -> str:
    label, proposed = style.plain(candidate_of(row).label), row["proposed"]
    return label if pd.isna(proposed) else f"{label}<br>proposed: {style.plain(proposed)}"


def _successors(table: pd.DataFrame) -> dict[int, int]:
    """Trials that went on from their rung, and the number that each went on as."""
    later = table[table[CONTINUES].notna() & (table.state != "FAIL")]
    pairs = zip(later[CONTINUES].astype(int), later.number.astype(int), strict=True)
    return dict(reversed(list(pairs)))  # the first of several counts


def _add_best(
    figure: go.Figure, table: pd.DataFrame, end: int, name: str, colour: str, dash: str
) -> None:
    rows = finished(table)
    if rows.empty:
        return
    best = rows.reward.astype(float).cummax()
    better = best > best.shift(fill_value=float("-inf"))
    figure.add_scatter(
        x=[*rows.number[better].astype(int), end],
        y=[*best[better], best.iloc[-1]],
        mode="lines+markers",  # a line of one trial has no length
        name=name,
        line={"shape": "hv", "color": colour, "dash": dash, "width": 2},
        marker={"size": 5},
        hoverinfo="skip",
    )


def _add_exploration(figure: go.Figure, known: pd.DataFrame, end: int) -> None:
    shares = known.epsilon.astype(float)
    figure.add_scatter(
        x=[*known.number.astype(int), end],
        y=[*shares, shares.iloc[-1]],
        mode="lines+markers",
        marker={"size": 4},
        name="left to chance",
        yaxis="y2",
        line={"shape": "hv", "color": style.GOOD, "width": 2},
        fill="tozeroy",
        hovertemplate="trial %{x}<br>%{y:.0%} left to chance<extra></extra>",
    )
    figure.update_layout(
        yaxis={"domain": [0.32, 1]},
        yaxis2={"domain": [0, 0.2], "range": [0, 1.05], "tickformat": ".0%", "nticks": 3},
        xaxis={"anchor": "y2"},
    )


def _rows(table: pd.DataFrame) -> list[list[str]]:
    successors = _successors(table)
    return [
        [
            *(f"{row['number']}", candidate_of(row).label),
            _state(row, successors.get(row["number"])),
            *cells(row, "reward", "score", "speedup", "proposed", "seconds"),
        ]
        for row in records(table[table.num_hidden_layers.notna()])
    ]


def _state(row: dict[str, Any], successor: int | None) -> str:
    if pd.notna(row[REPEATS]):
        return f"repeats {row[REPEATS]}"
    if pd.notna(row[INFEASIBLE]):
        return "beyond a limit"
    state = str(row["state"]).lower()
    if pd.notna(row[RUNG]):
        state = f"stopped at {row[RUNG]:.0%}"
    if successor is not None:
        state = f"went on as trial {successor}"
    return state + (f", continues {row[CONTINUES]}" if pd.notna(row[CONTINUES]) else "")
