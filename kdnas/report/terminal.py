"""The last lines that a person sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kdnas.report.facts import Facts
from kdnas.report.models import models_of
from kdnas.report.progress import progress_told
from kdnas.runtime.formatting import in_millions

WIDTH = 80
NAME, WIDEST = 24, 30


def closing_lines(report: dict[str, Any], folder: str) -> list[str]:
    """Teacher, student and controls, a line each, at most 80 columns wide; and where files are."""
    lines = [*_models(report), "", *_search(report["search"])]
    wanted = report.get("speedup_wanted")
    if wanted and report["speedup"] < wanted:
        lines.append(f"timed again, the student is not quite the {wanted:g}x that was asked for")
    return [*lines, "", f"student: {folder}/student", f"report:  {folder}/report.html"]


def report_lines(facts: Facts, folder: Path, picture: Path | None) -> list[str]:
    """What `kdnas report` says."""
    if facts.report:
        lines = closing_lines(facts.report, str(folder))
    else:
        lines = [*progress_told(facts), f"no student yet; it goes on with: kdnas resume {folder}"]
        lines += ["", f"report:  {folder}/report.html"]
    return lines + ([f"picture: {picture}"] if picture else [])


def _models(report: dict[str, Any]) -> list[str]:
    """A column a metric, as far as they fit."""
    rows = models_of(report)
    metrics = list(report["student"]["scores"])
    first = min(WIDEST, max(NAME, *(len(name) + 1 for name, _, _ in rows)))
    widths = [max(len(metric), 6) + 2 for metric in metrics]
    while sum(widths) > WIDTH - first - 16:
        widths.pop()
    metrics = metrics[: len(widths)]
    heads = "".join(f"{metric:>{width}}" for metric, width in zip(metrics, widths, strict=True))
    lines = [f"{'':<{first}}{'size':>7}{'speed':>9}{heads}"]
    for name, row, speedup in rows:
        scores = [f"{row['scores'][m]:.4f}" if m in row["scores"] else "-" for m in metrics]
        cells = "".join(f"{cell:>{width}}" for cell, width in zip(scores, widths, strict=True))
        size = in_millions(row["params"])
        lines.append(f"{name[: first - 1]:<{first}}{size:>7}{speedup:>8.2f}x{cells}")
    return lines


def _search(search: dict[str, Any]) -> list[str]:
    each = search["seconds_per_trial"]
    line = (
        f"search: {search['sampler']}, {search['seen']} of {search['space']} students; trials took "
        f"{search['seconds']:.0f} s, {each['least']:.1f} to {each['most']:.1f} s each"
    )
    return [line, *_beside_random(search)]


def _beside_random(search: dict[str, Any]) -> list[str]:
    """The best score of search and random search at some speed-ups."""
    budgets = search["budgets"]
    rows = [("best reward; score at", ["", *(f"{b['speedup']:g}x" for b in budgets)])]
    for key, name in (("search", "  this search"), ("random_search", "  random search, as many")):
        whole = search if key == "search" else search["random_search"]
        if whole:
            scores = [f"{b[key]['score']:.4f}" if b[key] else "-" for b in budgets]
            rows.append((name, [f"{whole['best_reward']:.4f}", *scores]))
    return [f"{name:<26}" + "".join(f"{cell:>9}" for cell in cells) for name, cells in rows]
