"""Mini-KD's score against the final one: fidelity.html, a section of the report, terminal lines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import plotly.graph_objects as go

from kdnas.report.data import ReportData
from kdnas.report.figures import style
from kdnas.report.page import Section, Table, write_page
from kdnas.runtime.formatting import table_lines

TRUST = Section(
    "trust",
    "Can the scores be trusted?",
    "Mini-KD's score (the share of the teacher's variance that a student explains) against the "
    "score after full distillation of the same students. The closer Kendall's tau is to 1, the "
    "better mini-KD ranks them.",
)
NAMES = {
    **{"score": "mini-KD score", "reward": "reward", "params": "parameters", "macs": "MACs"},
    **{"depth": "depth", "-speedup": "speed-up, negated"},
}
GROUPS = {"all": "all students", "better_half": "the better half by final score"}
HEAD = ("tau", "95% interval", "rho", "95% interval")
HOVER_KEYS = ("trial", "label", "params", "macs", "speedup")
HOVER = (
    "trial %{customdata[0]}<br>%{customdata[1]}"
    "<br>%{customdata[2]:.3s} parameters, %{customdata[3]:.3s} MACs"
    "<br>%{customdata[4]:.2f} times as fast"
    "<br>mini-KD score %{x:.4f}, final %{y:.4f}<extra></extra>"
)


def fidelity_lines(result: dict[str, Any], folder: str) -> list[str]:
    """The statistics as a table for the terminal, at most 80 columns wide."""
    lines = []
    for group, title in GROUPS.items():
        statistics = result["statistics"][group]
        count = next(iter(statistics.values()))["n"]
        rows = [(f"  {NAMES[name]}", *_cells(row)) for name, row in statistics.items()]
        lines.append(f"{title} ({count}), against {result['metric']}:")
        lines += table_lines(("", *HEAD), rows, first=20)
    return [*lines, f"wrote {folder}/fidelity.json and {folder}/fidelity.html"]


def write_fidelity(path: Path, result: dict[str, Any], name: str) -> None:
    """Writes figure and table as one self-contained page."""
    tau, interval, *_ = _cells(result["statistics"]["all"]["score"])
    told = f"Kendall's tau {tau}, 95% interval {interval}."
    write_page(path, name, [_filled(Section("scores", "Scores", told), result)])


def fidelity_section(data: ReportData) -> Section:
    """The same in a run's report, where `kdnas fidelity` has measured it."""
    if data.fidelity:
        return _filled(TRUST, data.fidelity)
    missing = "Not measured. kdnas fidelity RUN measures it by distilling some students fully."
    return replace(TRUST, missing=missing)


def _filled(section: Section, result: dict[str, Any]) -> Section:
    rows = [
        (f"{NAMES[name]}, {title}", f"{row['n']}", *_cells(row))
        for group, title in GROUPS.items()
        for name, row in result["statistics"][group].items()
    ]
    table = Table(("ranked by", "students", *HEAD), rows)
    return replace(section, views={"scores": fidelity_figure(result)}, table=table)


def fidelity_figure(result: dict[str, Any]) -> go.Figure:
    """Mini-KD score against final score: a dot a student, a bar from its worst to its best seed."""
    students = result["students"]
    seeds = [list(s["final"].values()) for s in students]
    finals = [fmean(scores) for scores in seeds]
    bars = style.error_bars(finals, [(min(scores), max(scores)) for scores in seeds])
    y = f"final {style.plain(result['metric'])}, after full KD"
    figure = style.figure("mini-KD score", y, 480, margin=style.NO_LEGEND)
    figure.add_scatter(
        x=[1 - s["loss"] for s in students],
        y=finals,
        error_y={**bars, "visible": any(bars["array"]), "color": style.MUTED},
        mode="markers",
        customdata=[[s[key] for key in HOVER_KEYS] for s in students],
        hovertemplate=HOVER,
        marker={
            "size": 11,
            "color": [s["speedup"] for s in students],
            "colorscale": style.SCALE,
            "showscale": True,
            "colorbar": {"title": {"text": "speed-up"}, "thickness": 12},
            "line": {"color": style.STUDENT, "width": 1},
        },
    )
    return figure


def _cells(row: dict[str, Any]) -> list[str]:
    cells = []
    for name in ("tau", "rho"):
        value, interval = row[name], row[f"{name}_interval"]
        cells.append("-" if value is None else f"{value:.3f}")
        cells.append(f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "-")
    return cells
