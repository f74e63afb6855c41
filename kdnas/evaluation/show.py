"""What a person sees of an evaluation."""

from __future__ import annotations

from typing import Any

from kdnas.runtime.formatting import several

WIDTH = 80


def metrics_line(scores: dict[str, float], spread: dict[str, float] | None = None) -> str:
    """`accuracy 0.8186  f1 0.8733`, each with its spread over seeds where there is one."""
    words = []
    for name, value in scores.items():
        more = f" ± {spread[name]:.4f}" if spread else ""
        words.append(f"{name} {value:.4f}{more}")
    return "  ".join(words)


def point_lines(place: str, label: str, scores: str, spent: str) -> list[str]:
    """The result of one fine-tuning, in one line, or in two where one would be too wide."""
    line = f"  {place}: {label}: {scores} ({spent})"
    return [line] if len(line) <= WIDTH else [f"  {place}: {label} ({spent}):", f"    {scores}"]


def closing_lines(result: dict[str, Any]) -> list[str]:
    """Some lines for each task, the mean over several, and the files of predictions."""
    tasks, lines = result["tasks"], []
    for name, task in tasks.items():
        own = [metrics_line(task["scores"], task.get("spread")), *_circumstances(task)]
        lines += [f"{head:<10} {line}" for head, line in zip([name, *[""] * 9], own, strict=False)]
    if len(tasks) > 1:
        over = f"{len(tasks)} tasks: {', '.join(tasks)}"
        lines.append(f"{result['mean_name']} {result['mean']:.4f} over {over}")
    if any(task.get("grid_points", 1) > 1 for task in tasks.values()):
        lines.append("Grid points were chosen on the validation splits that are scored here.")
    return lines + [f"wrote {file}" for file in result["predictions"]]


def _circumstances(task: dict[str, Any]) -> list[str]:
    lines = []
    if task["tuned"]:
        best, points, seeds = task["best"], task["grid_points"], len(task["seeds"])
        epochs = several(format(best["epochs"], "g"), "epoch")
        words = [f"lr {best['lr']:g}, batch {best['batch_size']}, {epochs}"]
        words += [f"best of {points} points"] * (points > 1)
        words += [f"{seeds} seeds ± std"] * (seeds > 1)
        lines.append("; ".join(words))
    if task.get("diverged"):
        lines.append(f"diverged: {len(task['diverged'])} of the fine-tunings")
    if task["held_out"]:
        lines.append("no validation file: scored on a held-out tenth of the training rows")
    return lines
