"""Mini-KD's score against the final one: fidelity.html, a section of the report, terminal lines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shlex import quote
from statistics import fmean
from typing import Any

import plotly.graph_objects as go

from kdnas.config import Settings
from kdnas.report.data import ReportData
from kdnas.report.figures import style
from kdnas.report.figures.front import AGREED, EXPLAINED
from kdnas.report.history import beside_the_record
from kdnas.report.page import Command, Section, Table, write_page
from kdnas.report.worth import worth
from kdnas.runtime.formatting import table_lines
from kdnas.scoring.rank_agreement import better_half

TRUST = Section(
    "trust",
    "Can the scores be trusted?",
    "A student's mini-KD score ({}) against its score after full distillation. The closer "
    "Kendall's tau is to 1, the better mini-KD ranks students.",
)
NAMES = {
    **{"score": "mini-KD score", "reward": "reward", "params": "parameters", "macs": "MACs"},
    **{"depth": "depth", "-speedup": "speed-up, negated"},
    "initial": "untrained score",
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
        if ties := _ties(result, group):
            lines.append(f"{title}: {ties}: no rank correlation")
            continue
        rows = [(f"  {NAMES[name]}", *_cells(row)) for name, row in statistics.items()]
        lines.append(f"{title} ({count}), against {result['metric']}:")
        lines += table_lines(("", *HEAD), rows, first=20)
    return [*lines, f"wrote {folder}/fidelity.json and {folder}/fidelity.html"]


def _told(settings: Settings) -> str:
    """What is compared, by what the scores of a search are."""
    return TRUST.told.format(AGREED if settings.scores_agreement else EXPLAINED)


def write_fidelity(path: Path, result: dict[str, Any], name: str, settings: Settings) -> None:
    """Writes figure and table as one self-contained page."""
    tau, interval, *_ = _cells(result["statistics"]["all"]["score"])
    count = result["statistics"]["all"]["score"]["n"]
    known = any(character.isdigit() for character in interval)
    sure = f"95% interval {interval}" if known else "too few students for an interval"
    told = f"{_told(settings)} Here it is {tau} ({count} students; {sure})."
    if ties := _ties(result, "all") or _equal_predictor(result):
        told = f"{ties[0].upper()}{ties[1:]}: no rank correlation."
    write_page(path, name, [_filled(Section("scores", "Scores", told), result)])


def fidelity_section(data: ReportData) -> Section:
    """What the search's score was worth: by `kdnas fidelity`, or by what was distilled anyway."""
    found = worth(data)
    kind = data.report.task_type if data.report else None
    beside = beside_the_record(data.record, data.folder, kind)
    said = (_told(data.settings), found.sentence if found else None, _finalists(data), beside)
    section = replace(TRUST, told=" ".join(filter(None, said)))
    if data.fidelity:
        return _filled(section, data.fidelity)
    command = Command(f"kdnas fidelity {quote(str(data.folder))}", "distil more, and measure it")
    section = replace(section, commands=[command], missing=data.fidelity_wrong)
    if found is None or not found.students:
        nothing = f"Nothing was distilled in full yet. {data.fidelity_wrong}"
        return replace(section, missing=nothing.strip())
    rows = [(one.name, f"{one.score:.4f}", f"{one.final:.4f}") for one in found.students]
    head = ("student", "score of the search", f"final {found.metric}")
    return replace(section, table=Table(head, rows, caption="Students distilled in full."))


def _finalists(data: ReportData) -> str:
    """The scores of each finalist, and how far their orders agree, in a sentence or two."""
    search = data.report and data.report.search
    if not search or not search.finalists:
        return ""
    each = ", ".join(
        f"trial {one.trial} ({one.name}) {one.score:.4f} and {one.selection:.4f}"
        + ("" if one.agreement is None else f", {one.agreement:.4f}")
        for one in search.finalists
    )
    tau = search.finalists_tau
    order = "" if tau is None else f" Kendall's tau between the two is {tau:.2f}."
    told = "Finalists by the score of the search and by held-out training rows after full KD"
    if any(one.agreement is not None for one in search.finalists):
        told += (
            ", then by agreement with the teacher on these rows, which decides where it is clear"
        )
        order = order.replace("the two", "the first two")
    return f"{told}: {each}.{order}"


def _filled(section: Section, result: dict[str, Any]) -> Section:
    rows = [
        (f"{NAMES[name]}, {title}", f"{row['n']}", *_cells(row))
        for group, title in GROUPS.items()
        if not _ties(result, group)
        for name, row in result["statistics"][group].items()
    ]
    ties = [f"{title}: {told}" for group, title in GROUPS.items() if (told := _ties(result, group))]
    missing = f"No rank correlation of {'; of '.join(ties)}." if ties else ""
    caption = "Rank correlations with the final score."
    table = Table(("ranked by", "students", *HEAD), rows, caption=caption) if rows else None
    views = {"scores": fidelity_figure(result)}
    return replace(section, views=views, table=table, missing=missing)


def _ties(result: dict[str, Any], group: str) -> str:
    """`all 12 final scores are equal (mcc 0.0000)`; empty where they differ."""
    finals = [fmean(s["final"].values()) for s in result["students"]]
    if group != "all":
        finals = [finals[i] for i in better_half(finals)]
    if len(set(finals)) > 1:
        return ""
    return f"all {len(finals)} final scores are equal ({result['metric']} {finals[0]:.4f})"


def _equal_predictor(result: dict[str, Any]) -> str:
    """`all 12 scores are equal`, where the search's are; else empty."""
    equal = len({s["loss"] for s in result["students"]}) == 1
    return f"all {len(result['students'])} scores are equal" if equal else ""


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
    return style.clip(style.clip(figure, "y"), "x")


def _cells(row: dict[str, Any]) -> list[str]:
    """Tau and rho with their intervals; a predictor that is the same for all ranks nothing."""
    if row["tau"] is None:
        return ["all equal", "-", "-", "-"]
    cells = []
    for name in ("tau", "rho"):
        value, interval = row[name], row[f"{name}_interval"]
        cells.append("-" if value is None else f"{value:.3f}")
        cells.append(f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "-")
    return cells
