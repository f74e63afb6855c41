"""What a person reads on the terminal at the end of a command, at most 80 columns wide."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap

from kdnas.report.about import export_line, faster_line, predict_line
from kdnas.report.data import ReportData
from kdnas.report.family import family_lines
from kdnas.report.model import Report
from kdnas.report.named import Named
from kdnas.report.pace import pace_words
from kdnas.report.search_summary import (
    bargain_line,
    budget_words,
    not_tried_words,
    progress_lines,
)
from kdnas.report.searched import Best, Found, Search
from kdnas.runtime.formatting import WIDTH, as_score, short_path, table_lines
from kdnas.tasks import TASK_TYPES

# Of the first column; the rest is for the numbers.
NAME, WIDEST = 24, 30
# The columns before those of the metrics, and what size and speed take of the width.
OTHERS, COSTS = 3, 16


def closing_lines(report: Report, run: Path, folder: Path | None = None) -> list[str]:
    """The verdict; teacher, student and controls, a line each; a search; what to do next.

    `folder` is that of another trial's student, in the run folder; default: the run's own.
    """
    lines = [*wrap(report.verdict, WIDTH), "", *_models(report), *_recipes(report)]
    lines += [*family_lines(report), *_pace(report), ""]
    if report.search:
        lines += _search(report.search)
        lines += [bargain_line(one, short_path(run)) for one in report.search.bargains]
    lines += [""] * bool(lines[-1])
    return [*lines, *_next_steps(report, run, folder)]


def _next_steps(report: Report, run: Path, folder: Path | None) -> list[str]:
    """Where the files are, and the commands that a person will want next."""
    names = Named.of(run, folder or run, report.student.trial, short_path)
    look = "look at the front" if report.search else "read the report"
    faster = faster_line(report, names.run)
    commands = {
        predict_line(report, names.model): TASK_TYPES[report.task_type].predict_does,
        f"kdnas report {names.run} --open": look,
        **({faster: "a faster student"} if faster else {}),
        export_line(names): "ship it",
    }
    width = max(map(len, commands))
    told = [f"  {command:<{width}}  {what}" for command, what in commands.items()]
    student, trial = f"student: {names.home}/student", report.student.trial
    student += "" if trial is None else f" (trial {trial})"
    return [student, f"report:  {names.home}/report.html", "next:", *told]


def report_lines(
    data: ReportData, folder: Path, picture: Path | None, page: Path | None = None
) -> list[str]:
    """The result of `kdnas report`; the page is RUN/report.html unless it is elsewhere."""
    own, page = folder / "report.html", page or folder / "report.html"
    if data.report:
        lines = closing_lines(data.report, folder)
        lines += [f"wrote {page}"] if page != own else []
    else:
        trained = "the student is trained, but not reported yet"
        state = trained if data.student else "no student yet"
        lines = [*progress_lines(data.progress), f"{state}; run: kdnas resume {folder}"]
        lines += ["", f"report:  {page}"]
    return lines + ([f"picture: {picture}"] if picture else [])


def _models(report: Report) -> list[str]:
    """A row a model, and a column a metric, as far as they fit."""
    names = [name for name, _ in report.models]
    names += [low.name for low in report.baselines]
    first = min(WIDEST, max(NAME, *map(len, names)))
    metrics = list(report.student.scores)
    rows: list[tuple[str, ...]] = [("", "size", "speed", *metrics)]
    for name, model in report.models:
        scores = [as_score(model.scores[m]) if m in model.scores else "-" for m in metrics]
        rows.append((name, *model.costs_told(), *scores))
        if model.seeds:
            rows.append((model.seeds.label, "", "", *map(model.seeds.told, metrics)))
    for low in report.baselines:
        scores = [as_score(low.scores[m]) if m in low.scores else "-" for m in metrics]
        rows.append((low.name, "-", "-", *scores))
    widths = [2 + max(map(len, column)) for column in zip(*rows, strict=True)][OTHERS:]
    while sum(widths) > WIDTH - first - COSTS:
        widths.pop()
    head, *shown = (row[: OTHERS + len(widths)] for row in rows)
    return table_lines(head, shown, first=first)


def _recipes(report: Report) -> list[str]:
    """Who was trained by which recipe, where a search chose between several."""
    told = [f"{name} by {model.recipe}" for name, model in report.models if model.recipe]
    return wrap(f"recipes: {', '.join(told)}", WIDTH) if told else []


def _pace(report: Report) -> list[str]:
    """What many rows take, where it was measured."""
    told = pace_words(report)
    return wrap(told, WIDTH) if told else []


def _search(search: Search) -> list[str]:
    """What the search took, its best score beside random search's at some speed-ups, its gaps."""
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
        name = f"  random search, {budget_words(search, search.random_search)}"
        searches.append((name, search.random_search, best))
    rows = [
        (name, f"{found.best_reward:.4f}", *(f"{b.score:.4f}" if b else "-" for b in best))
        for name, found, best in searches
    ]
    head = ("best reward; score at", "", *(f"{b.speedup:g}x" for b in budgets))
    untried = [line for words in not_tried_words(search) for line in wrap(words, WIDTH)]
    return [first, *table_lines(head, rows), *untried]
