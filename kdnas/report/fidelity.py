"""Mini-KD's score against the final one: fidelity.html, a section of the report, terminal lines."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

import plotly.graph_objects as go

from kdnas.report.data import ReportData
from kdnas.report.figures import style
from kdnas.report.page import Section, Table, write_page
from kdnas.report.terminal import table_lines

TITLE = "Can the scores be trusted?"
TOLD = (
    "Mini-KD's score against the score after full distillation of the same students. The closer "
    "Kendall's tau is to 1, the better mini-KD ranks them."
)
NAMES = {
    "score": "mini-KD score",
    "reward": "reward",
    "params": "parameters",
    "macs": "MACs",
    "depth": "depth",
    "-speedup": "speed-up, negated",
}
GROUPS = {"all": "all students", "better_half": "the better half by final score"}
COSTS = ("params", "macs", "speedup")
HOVER = (
    "trial %{customdata[0]}<br>%{customdata[1]}"
    "<br>%{customdata[2]:.3s} parameters, %{customdata[3]:.3s} MACs"
    "<br>%{customdata[4]:.2f} times as fast"
    "<br>mini-KD score %{x:.4f}, final %{y:.4f}<extra></extra>"
)


HEAD = ("tau", "95% interval", "rho", "95% interval")


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


def fidelity_table(result: dict[str, Any]) -> Table:
    """The same for a page."""
    rows = [
        (f"{NAMES[name]}, {title}", f"{row['n']}", *_cells(row))
        for group, title in GROUPS.items()
        for name, row in result["statistics"][group].items()
    ]
    return Table(("ranked by", "students", *HEAD), rows)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    tau, rho = _number(row["tau"]), _number(row["rho"])
    return tau, _between(row["tau_interval"]), rho, _between(row["rho_interval"])


def fidelity_figure(result: dict[str, Any]) -> go.Figure:
    """Mini-KD score against final score: a dot a student, a bar from its worst to its best seed."""
    students = result["students"]
    finals = [fmean(s["final"].values()) for s in students]
    above = [max(s["final"].values()) - mean for s, mean in zip(students, finals, strict=True)]
    below = [mean - min(s["final"].values()) for s, mean in zip(students, finals, strict=True)]
    figure = style.figure(height=480, margin=style.NO_LEGEND)
    figure.add_scatter(
        x=[1 - s["loss"] for s in students],
        y=finals,
        error_y={"array": above, "arrayminus": below, "visible": any(above)},
        mode="markers",
        customdata=[[s[k] for k in ("trial", "label", *COSTS)] for s in students],
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
    share = "mini-KD score: share of the teacher's variance explained"
    figure.update_xaxes(title={"text": share})
    figure.update_yaxes(title={"text": f"final {style.plain(result['metric'])}, after full KD"})
    return figure


def fidelity_section(data: ReportData) -> Section:
    """The same in a run's report, where `kdnas fidelity` has measured it."""
    if not data.fidelity:
        missing = "Not measured. kdnas fidelity RUN measures it by distilling some students fully."
        return Section("trust", TITLE, TOLD, missing=missing)
    views = {"scores": fidelity_figure(data.fidelity)}
    return Section("trust", TITLE, TOLD, views, fidelity_table(data.fidelity))


def write_fidelity(path: Path, result: dict[str, Any], name: str) -> None:
    """Writes the figure as one self-contained page."""
    row = result["statistics"]["all"]["score"]
    told = f"Kendall's tau {_number(row['tau'])}, 95% interval {_between(row['tau_interval'])}."
    views = {"scores": fidelity_figure(result)}
    section = Section("scores", "Scores", told, views, fidelity_table(result))
    write_page(path, name, [section])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _between(interval: tuple[float, float] | None) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "-"
