"""Latency by batch size and length; how long each step of the run took, and where."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from kdnas.report.data import ReportData
from kdnas.report.figures import style
from kdnas.report.model import LatencyCell, Report
from kdnas.report.page import Section, Table
from kdnas.report.trials_table import records
from kdnas.runtime.formatting import several

LATENCY = "Latency"
LATENCY_TOLD = (
    "Medians of passes in which student and teacher take turns; bars reach from the lower to the "
    "upper quartile. A speed-up holds for its batch size and length alone."
)
SECONDS = "How long, and where"
SECONDS_TOLD = "Seconds by step; the parts of an interrupted step are summed."
LEAST_SECONDS = 0.5


def latency_section(data: ReportData) -> Section:
    """Milliseconds and speed-ups by length, a line a batch size."""
    if not data.report:
        missing = "Not measured: no student is finished yet."
        return Section("latency", LATENCY, LATENCY_TOLD, missing=missing)
    cells = sorted(data.report.latency, key=lambda c: (c.batch, c.length))
    timed = [cell for cell in cells if cell.repeats]
    views = {"milliseconds": _milliseconds(timed), "speed-up": _speedups(timed)} if timed else {}
    missing = "" if timed else "Every batch size and length took too long to be timed here."
    head = ("batch x tokens", "student", "quartiles", "teacher", "quartiles", "speed-up", "passes")
    table = Table(head, [_latency_row(cell) for cell in cells])
    return Section("latency", LATENCY, LATENCY_TOLD, views, table, missing)


def _milliseconds(cells: list[LatencyCell]) -> go.Figure:
    figure = _latency_figure("milliseconds a batch")
    for who, colour in (("teacher", style.TEACHER), ("student", style.STUDENT)):
        for i, (batch, row) in enumerate(_by_batch(cells).items()):
            middle = [getattr(cell, f"{who}_ms") for cell in row]
            ends = [getattr(cell, f"{who}_quartiles_ms") for cell in row]
            figure.add_scatter(
                x=[cell.length for cell in row],
                y=middle,
                error_y={
                    "array": [high - m for (_, high), m in zip(ends, middle, strict=True)],
                    "arrayminus": [m - low for (low, _), m in zip(ends, middle, strict=True)],
                },
                mode="lines+markers",
                name=f"{who}, batch {batch}",
                marker={"color": colour, "symbol": style.SYMBOLS[i], "size": 9},
                line={"color": colour, "width": 1.5},
                customdata=ends,
                hovertemplate=f"{who}, batch {batch}, %{{x}} tokens<br>%{{y:.2f}} ms, quartiles "
                "%{customdata[0]:.2f} to %{customdata[1]:.2f}<extra></extra>",
            )
    return figure


def _speedups(cells: list[LatencyCell]) -> go.Figure:
    figure = _latency_figure("times as fast as the teacher")
    for i, (batch, row) in enumerate(_by_batch(cells).items()):
        figure.add_scatter(
            x=[cell.length for cell in row],
            y=[cell.teacher_ms / cell.student_ms for cell in row],
            mode="lines+markers",
            name=f"batch {batch}",
            marker={"symbol": style.SYMBOLS[i], "size": 9, "color": style.SEVERAL[i]},
            hovertemplate=f"batch {batch}, %{{x}} tokens<br>%{{y:.2f}} times<extra></extra>",
        )
    return figure


def _latency_figure(title: str) -> go.Figure:
    figure = style.figure(height=440)
    figure.update_xaxes(title={"text": "tokens"}, type="category", categoryorder="array")
    figure.update_yaxes(style.log_axis(title), tickformat="~g")
    return figure


def _by_batch(cells: list[LatencyCell]) -> dict[int, list[LatencyCell]]:
    rows: dict[int, list[LatencyCell]] = {}
    for cell in cells:
        rows.setdefault(cell.batch, []).append(cell)
    return rows


def _latency_row(cell: LatencyCell) -> tuple[str, ...]:
    name = f"{cell.batch} x {cell.length}"
    if not cell.repeats:
        return name, "too slow to time", "", "", "", "", "0"
    times = [
        text
        for middle, (low, high) in (
            (cell.student_ms, cell.student_quartiles_ms),
            (cell.teacher_ms, cell.teacher_quartiles_ms),
        )
        for text in (f"{middle:.2f} ms", f"{low:.2f} to {high:.2f}")
    ]
    return name, *times, f"{cell.teacher_ms / cell.student_ms:.2f}x", f"{cell.repeats}"


def seconds_section(data: ReportData) -> Section:
    """A bar a step, the machines, and what each did for the search."""
    told = " ".join([_where(data.report), *_workers(data.table)])
    rows = [(step, f"{seconds:.1f}", machine) for step, seconds, machine in data.steps]
    table = Table(("step", "seconds", "machine"), rows)
    shown = _summed(data.steps)
    if not shown:
        missing = "" if rows else "The run has no log yet."
        return Section("seconds", SECONDS, told, table=table, missing=missing)
    figure = style.figure(height=80 + 24 * len(shown), margin=style.NO_LEGEND)
    figure.add_bar(
        x=list(shown.values()),
        y=[style.plain(step) for step in shown],
        orientation="h",
        marker={"color": style.STUDENT},
        hovertemplate="%{y}: %{x:.1f} s<extra></extra>",
    )
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(title={"text": "seconds"})
    return Section("seconds", SECONDS, told, {"steps": figure}, table)


def _summed(steps: list[tuple[str, float, str]]) -> dict[str, float]:
    """Seconds of the steps that took any; the students of `kdnas fidelity` are one step."""
    total: dict[str, float] = {}
    for step, seconds, _ in steps:
        name = "fidelity" if step.startswith("fidelity ") else step
        total[name] = total.get(name, 0.0) + seconds
    return {name: seconds for name, seconds in total.items() if seconds >= LEAST_SECONDS}


def _where(report: Report | None) -> str:
    if report is None:
        return SECONDS_TOLD
    e = report.environment
    return (
        f"On {e.device} ({e.device_name}), {several(e.threads, 'thread')}, {e.precision}, "
        f"torch {e.torch}, Python {e.python}, {e.platform}; latencies on {e.timed_on}."
    )


def _workers(table: pd.DataFrame) -> list[str]:
    """What each machine did, where there were several."""
    seconds: dict[str, list[float]] = {}
    for row in records(table[table.machine.notna() & table.seconds.notna()]):
        seconds.setdefault(row["machine"], []).append(row["seconds"])
    if len(seconds) < 2:
        return []
    parts = [f"{m}: {several(len(s), 'trial')}, {sum(s):.0f} s" for m, s in seconds.items()]
    return [f"The search by machine: {'; '.join(parts)}."]
