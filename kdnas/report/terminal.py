"""What a person reads on the terminal at the end of a command, at most 80 columns wide."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kdnas.report.data import ReportData
from kdnas.report.model import Best, Found, Report, Search
from kdnas.report.search_summary import progress_lines
from kdnas.runtime.formatting import in_millions

WIDTH = 80
# Of the first column; the rest is for the numbers.
NAME, WIDEST = 24, 30


def table_lines(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, first: int | None = None
) -> list[str]:
    """A table without rules: the first column, `first` wide, left-aligned, the others right."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="")
    table.add_column(head[0], no_wrap=True, overflow="ellipsis", width=first)
    for name in head[1:]:
        table.add_column(name, justify="right", no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*row)
    text = StringIO()
    Console(file=text, width=WIDTH, color_system=None, markup=False, highlight=False).print(table)
    return [line.rstrip() for line in text.getvalue().splitlines()]


def closing_lines(report: Report, folder: str) -> list[str]:
    """Teacher, student and controls, a line each; the search; where the files are."""
    lines = [*_models(report), "", *_search(report.search)]
    wanted = report.speedup_wanted
    if wanted and report.speedup < wanted:
        lines.append(f"timed again at the end, the student misses the {wanted:g}x asked for")
    return [*lines, "", f"student: {folder}/student", f"report:  {folder}/report.html"]


def report_lines(data: ReportData, folder: Path, picture: Path | None) -> list[str]:
    """The result of `kdnas report`."""
    if data.report:
        lines = closing_lines(data.report, str(folder))
    else:
        lines = [*progress_lines(data.progress), f"no student yet; run: kdnas resume {folder}"]
        lines += ["", f"report:  {folder}/report.html"]
    return lines + ([f"picture: {picture}"] if picture else [])


def _models(report: Report) -> list[str]:
    """A row a model, and a column a metric, as far as they fit."""
    names = [name for name, _ in report.models]
    constant = report.baseline
    names += [constant.name] if constant else []
    first = min(WIDEST, max(NAME, *map(len, names)))
    metrics = list(report.student.scores)
    while sum(max(len(metric), 6) + 2 for metric in metrics) > WIDTH - first - 16:
        metrics.pop()
    rows = []
    for name, model in report.models:
        scores = [f"{model.scores[m]:.4f}" if m in model.scores else "-" for m in metrics]
        rows.append((name, in_millions(model.params), f"{model.speedup:.2f}x", *scores))
    if constant:
        scores = [f"{constant.scores[m]:.4f}" if m in constant.scores else "-" for m in metrics]
        rows.append((constant.name, "-", "-", *scores))
    return table_lines(("", "size", "speed", *metrics), rows, first=first)


def _search(search: Search) -> list[str]:
    """What the search took, and its best score beside random search's at some speed-ups."""
    each, budgets = search.seconds_per_trial, search.budgets
    first = (
        f"search: {search.sampler}, {search.seen} of {search.space} students; trials took "
        f"{search.seconds:.0f} s, {each.least:.1f} to {each.most:.1f} s each"
    )
    searches: list[tuple[str, Found, list[Best | None]]] = [
        ("  this search", search, [b.search for b in budgets])
    ]
    if search.random_search:
        best = [b.random_search for b in budgets]
        searches.append(("  random search, same budget", search.random_search, best))
    rows = [
        (name, f"{found.best_reward:.4f}", *(f"{b.score:.4f}" if b else "-" for b in best))
        for name, found, best in searches
    ]
    head = ("best reward; score at", "", *(f"{b.speedup:g}x" for b in budgets))
    return [first, *table_lines(head, rows)]
