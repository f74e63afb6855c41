"""The last lines that a person sees."""

from __future__ import annotations

from typing import Any


def closing_lines(report: dict[str, Any], folder: str) -> list[str]:
    """Teacher, student and controls, a line each, at most 80 columns wide."""
    rows = [("teacher", report["teacher"], 1.0), ("student", report["student"], report["speedup"])]
    rows += [(c["name"], c, c["speedup"]) for c in report["controls"]]
    lines = []
    for name, row, speedup in rows:
        scores = "  ".join(f"{metric} {value:.4f}" for metric, value in row["scores"].items())
        size = f"{row['params'] / 1e6:.1f}M"
        lines.append(f"{name:<24} {size:>7} {speedup:>6.2f}x  {scores or 'no head for this task'}")
    search = report["search"]
    each = search["seconds_per_trial"]
    lines.append(
        f"search: {search['sampler']}, {search['seen']} of {search['space']} students in "
        f"{search['seconds']:.0f} s, {each['least']:.1f} to {each['most']:.1f} s each"
    )
    lines += _beside_random(search)
    wanted = search["speedup_wanted"]
    if wanted and report["speedup"] < wanted:
        lines.append(f"timed again, the student is not quite the {wanted:g}x that was asked for")
    lines.append(f"student: {folder}/student   report: {folder}/report.json, {folder}/pareto.html")
    return lines


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
