"""Latency by batch size and length, with its spread."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from kdnas.report.facts import Facts
from kdnas.report.figures import style
from kdnas.report.page import Section, Table

TITLE = "Latency"
TOLD = (
    "Medians of passes in which student and teacher take turns; bars reach from the lower to the "
    "upper quartile. A speed-up holds for its batch size and length alone."
)
OLD = "Not measured: an older version made this run, or no student is finished yet."


def latency_section(facts: Facts) -> Section:
    """Milliseconds and speed-ups by length, a line a batch size."""
    cells = facts.report.get("latency") if facts.report else None
    if not cells:
        return Section("latency", TITLE, TOLD, missing=OLD)
    timed = [cell for cell in cells if cell["repeats"]]
    views = {"milliseconds": _milliseconds(timed), "speed-up": _speedups(timed)} if timed else {}
    missing = "" if timed else "Every batch size and length took too long to be timed here."
    return Section("latency", TITLE, TOLD, views, _table(cells), missing)


def _milliseconds(cells: list[dict[str, Any]]) -> go.Figure:
    figure = _empty("milliseconds a batch")
    for who, colour in (("teacher", style.TEACHER), ("student", style.STUDENT)):
        for i, (batch, row) in enumerate(_by_batch(cells).items()):
            middle = [c[f"{who}_ms"] for c in row]
            low, high = zip(*(c[f"{who}_quartiles_ms"] for c in row), strict=True)
            figure.add_scatter(
                x=[c["length"] for c in row],
                y=middle,
                error_y={
                    "array": [b - m for b, m in zip(high, middle, strict=True)],
                    "arrayminus": [m - a for a, m in zip(low, middle, strict=True)],
                },
                mode="lines+markers",
                name=f"{who}, batch {batch}",
                marker={"color": colour, "symbol": style.SYMBOLS[i], "size": 9},
                line={"color": colour, "width": 1.5},
                customdata=[[a, b] for a, b in zip(low, high, strict=True)],
                hovertemplate=f"{who}, batch {batch}, %{{x}} tokens<br>%{{y:.2f}} ms, quartiles "
                "%{customdata[0]:.2f} to %{customdata[1]:.2f}<extra></extra>",
            )
    return figure


def _speedups(cells: list[dict[str, Any]]) -> go.Figure:
    figure = _empty("times as fast as the teacher")
    for i, (batch, row) in enumerate(_by_batch(cells).items()):
        figure.add_scatter(
            x=[c["length"] for c in row],
            y=[c["teacher_ms"] / c["student_ms"] for c in row],
            mode="lines+markers",
            name=f"batch {batch}",
            marker={"symbol": style.SYMBOLS[i], "size": 9, "color": style.SEVERAL[i]},
            hovertemplate=f"batch {batch}, %{{x}} tokens<br>%{{y:.2f}} times<extra></extra>",
        )
    return figure


def _empty(title: str) -> go.Figure:
    figure = style.figure(height=440)
    figure.update_xaxes(title={"text": "tokens"}, type="category", categoryorder="array")
    figure.update_yaxes(style.log_axis(title), tickformat="~g")
    return figure


def _by_batch(cells: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    rows: dict[int, list[dict[str, Any]]] = {}
    for cell in sorted(cells, key=lambda c: (c["batch"], c["length"])):
        rows.setdefault(cell["batch"], []).append(cell)
    return rows


def _table(cells: list[dict[str, Any]]) -> Table:
    head = ("batch x tokens", "student", "quartiles", "teacher", "quartiles", "speed-up", "passes")
    rows = []
    for cell in sorted(cells, key=lambda c: (c["batch"], c["length"])):
        name = f"{cell['batch']} x {cell['length']}"
        if not cell["repeats"]:
            rows.append((name, "too slow to time", "", "", "", "", "0"))
            continue
        rows.append(
            (
                name,
                *_times(cell, "student"),
                *_times(cell, "teacher"),
                f"{cell['teacher_ms'] / cell['student_ms']:.2f}x",
                f"{cell['repeats']}",
            )
        )
    return Table(head, rows)


def _times(cell: dict[str, Any], who: str) -> tuple[str, str]:
    low, high = cell[f"{who}_quartiles_ms"]
    return f"{cell[f'{who}_ms']:.2f} ms", f"{low:.2f} to {high:.2f}"
