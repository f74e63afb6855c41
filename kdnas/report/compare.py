"""`kdnas report RUN1 RUN2 ...`: several runs in one plot and one table."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import plotly.graph_objects as go

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.report.data import ReportData
from kdnas.report.figures import style
from kdnas.report.figures.front import AXES, COSTS, dots, winner_rows
from kdnas.report.page import Plotly, Section, Table, write_page
from kdnas.report.search_summary import BUDGETS, best_at, found
from kdnas.report.trials_table import finished, front
from kdnas.runtime.formatting import table_lines

TOLD = "The front of each search; stars are the winners, timed again at the end."
SHARES = "shares of the teacher's variance"
AGREEMENT = "how far students predict what the teacher predicts, after short runs of their recipes"
BY_OPTIONS = "1 less the held-out loss by --mini-score {} --normalisation {}"
BY_SCORER = "what the scorer {} gives"
DEFAULTS = Settings()
AT = [f"at_{speedup:g}" for speedup in BUDGETS]
COLUMNS = {
    **{"name": "run", "teacher": "teacher", "task": "task", "sampler": "sampler"},
    **{"evaluated": "students", "reward": "best reward", "hypervolume": "hypervolume"},
    **{key: f"score at {speedup:g}x" for key, speedup in zip(AT, BUDGETS, strict=True)},
    **{"student": "student", "metric": "metric", "final": "its score", "speedup": "speed-up"},
}


def comparison(runs: dict[str, ReportData]) -> list[dict[str, Any]]:
    """A row of plain values a run, keys as in COLUMNS; None where a value is not there.

    Raises:
        KdnasError: A run has no finished trial, or without a search no finished student.
    """
    rows, teachers = [], _teachers(runs.values())
    for name, data in runs.items():
        report, what = data.report, "trial" if data.study else "student"
        if finished(data.table).empty and (data.study or report is None):
            run = quote(str(data.folder))
            raise KdnasError(f"{name} has no finished {what} to compare; run: kdnas resume {run}")
        search = found(data.held) if data.study else None
        best = {key: best_at(data.held, b) for key, b in zip(AT, BUDGETS, strict=True)}
        row = {
            "name": name,
            "teacher": teachers[data.teacher_name],
            "task": data.task,
            "sampler": search and data.settings.sampler,
            "evaluated": search and search.evaluated,
            "reward": search and search.best_reward,
            "hypervolume": search and search.hypervolume,
            **{key: student and student.score for key, student in best.items()},
            "student": report and report.student.name,
            "metric": report and report.main_score,
            "final": report and report.student.scores[report.main_score],
            "speedup": report and report.speedup,
        }
        rows.append(row)
    return rows


def write_comparison(path: Path, runs: dict[str, ReportData], plotly: Plotly = "inline") -> None:
    """Writes the page."""
    rows = comparison(runs)
    searched = {name: data for name, data in runs.items() if data.study}
    views = {name: _figure(searched, cost) for name, cost in COSTS.items() if searched}
    cells = [[_shown(row[key]) for key in COLUMNS] for row in rows]
    caption = "A row a run, by its folder; a dash is what is not known yet."
    table = Table(list(COLUMNS.values()), cells, open=True, caption=caption)
    missing = "" if searched else "None of these runs has a search, and so a front."
    section = Section("fronts", "Pareto fronts", _told(rows, searched), views, table, missing)
    write_page(path, f"{len(runs)} runs compared", [section], plotly=plotly)


def comparison_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The table for a terminal, at most 80 columns wide."""
    keys = ["evaluated", "reward", *AT, "final"]
    head = ("best reward; score at", "students", "reward", *(f"{b:g}x" for b in BUDGETS), "final")
    names = [row["name"] if len(row["name"]) < 24 else f"...{row['name'][-20:]}" for row in rows]
    cells = ([name, *(_shown(r[key]) for key in keys)] for name, r in zip(names, rows, strict=True))
    return table_lines(head, cells)


def _told(rows: Sequence[dict[str, Any]], searched: dict[str, ReportData]) -> str:
    """How to read the plot, and whether the scores of these runs compare at all."""
    values = {k: list(dict.fromkeys(str(row[k]) for row in rows)) for k in ("teacher", "task")}
    differ = [f"{key}s ({', '.join(names)})" for key, names in values.items() if len(names) > 1]
    if differ:
        differ = [f"These runs have several {' and '.join(differ)}: do not compare them."]
    return " ".join([TOLD, *_scores(searched), *differ])


def _scores(searched: dict[str, ReportData]) -> list[str]:
    """What the scores of the runs are, in a sentence or none."""
    kinds: dict[str, list[str]] = {}
    for name, data in searched.items():
        kinds.setdefault(_kind(data.settings), []).append(name)
    if len(kinds) < 2:
        return [f"Scores are {kind}." for kind in kinds]
    each = ", ".join(f"those of {', '.join(names)} {kind}" for kind, names in kinds.items())
    return [f"Scores are not of one kind, {each}: do not compare them."]


def _kind(settings: Settings) -> str:
    """What the scores of a run are, in words."""
    if settings.scorer != DEFAULTS.scorer:
        return BY_SCORER.format(settings.scorer)
    if settings.scores_agreement:
        return AGREEMENT
    said, usual = ((s.mini_score, s.normalisation) for s in (settings, DEFAULTS))
    return SHARES if said == usual else BY_OPTIONS.format(*said)


def _figure(runs: dict[str, ReportData], cost: str) -> go.Figure:
    figure = style.figure(AXES[cost], "score", 520)
    for i, (name, data) in enumerate((k, each.as_held) for k, each in runs.items()):
        colour = style.SEVERAL[i % len(style.SEVERAL)]
        symbol = style.SYMBOLS[i % len(style.SYMBOLS)]
        drawn = dots(front(data.table, cost), cost, name, colour, 8, symbol)
        figure.add_trace(drawn.update(mode="lines+markers", line={"color": colour, "width": 2}))
        star = dots(winner_rows(data), cost, f"{name}, winner", colour, 17, "star")
        figure.add_trace(star.update(showlegend=False))
    return style.clip(figure, "y")


def names_of(folders: Sequence[Path]) -> list[str]:
    """Each run's name: its folder's, with as many of the folders above as tell it apart."""
    return _told_apart([folder.absolute().resolve() for folder in folders])


def _teachers(runs: Collection[ReportData]) -> dict[str, str]:
    """What each teacher is called beside the others, by its hub id or folder."""
    teachers = list({data.teacher_name for data in runs})
    return dict(zip(teachers, _told_apart(list(map(Path, teachers))), strict=True))


def _told_apart(paths: Sequence[Path]) -> list[str]:
    """The last part of each path, with as many before it as tell it apart."""
    parts = [path.parts for path in paths]

    def name(own: tuple[str, ...]) -> str:
        for n in range(1, len(own) + 1):
            if sum(other[-n:] == own[-n:] for other in parts) == 1:
                return str(Path(*own[-n:]))
        return str(Path(*own))

    return [name(own) for own in parts]


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
