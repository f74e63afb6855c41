"""What a person reads of an evaluation in the end."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap
from typing import Any

from kdnas.evaluation.tuning import WIDTH, metrics_line
from kdnas.runtime.formatting import as_interval, as_score, in_digits, several, table_lines
from kdnas.tasks.spec import split_of

# What a speed of a pruned checkpoint is of.
SLICED = (
    "in the sliced form, which kdnas makes of the checkpoint; in plain transformers its "
    "model.safetensors is dense, and as slow as unpruned layers"
)
MOST_CLASSES = 20  # that the terminal lists


def closing_lines(result: dict[str, Any]) -> list[str]:
    """For people: some lines for each task, the mean over several, and the predictions files."""
    tasks, lines = result["tasks"], []
    for name, task in tasks.items():
        lines.append(f"{name:<9} {metrics_line(task['scores'], task.get('spread'))}")
        lines += [f"{'':<9} {line}" for line in (*_circumstances(task), *_classes(task))]
    if len(tasks) > 1:
        over = f"{len(tasks)} tasks: {', '.join(tasks)}"
        lines.append(f"{result['mean_name']} {as_score(result['mean'])} over {over}")
    if any(task.get("grid_points", 1) > 1 for task in tasks.values()):
        lines.append("Grid points were chosen on the validation splits that are scored here.")
    return lines + [f"wrote {file}" for file in result["predictions"]]


def _circumstances(task: dict[str, Any]) -> list[str]:
    lines = _intervals(task["rows"], task.get("intervals") or {})
    if seconds := task.get("seconds_per_1000"):
        lines.append(f"1,000 rows take {in_digits(seconds, 3)} s, from token ids to answers")
        lines += wrap(SLICED, WIDTH - 10) if task.get("sliced") else []
    if constant := task["baseline"]:
        lines.append(f"{constant['name']}: {metrics_line(constant['scores'])}")
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
    for name, words in (task.get("details") or {}).get("signatures", {}).items():
        lines += [f"{name}: {words}"] if name in task["scores"] else []
    return lines


def _intervals(rows: Mapping[str, int], ends: Mapping[str, tuple[float, float]]) -> list[str]:
    """The intervals of each split's scores, behind the rows that they are of."""
    lines = []
    for split, count in rows.items():
        told = [
            f"{name} {as_interval(each)}"
            for name, each in ends.items()
            if split_of(name, rows) == split
        ]
        where = f" in {split}" if len(rows) > 1 else ""
        known = f"n = {count:,}{where}; 95% intervals: {', '.join(told)}"
        lines += wrap(known, WIDTH - 10) if told else []
    return lines


def _classes(task: dict[str, Any]) -> list[str]:
    """Precision, recall and F1 of each class, where there are not too many."""
    details = task.get("details") or {}
    known, counted = details.get("classes", ()), details.get("counted", "rows")
    if not 1 < len(known) <= MOST_CLASSES:
        return []
    numbers = ("precision", "recall", "f1")
    rows = [
        (one["name"], *(f"{one[name]:.4f}" for name in numbers), str(one["support"]))
        for one in known
    ]
    return table_lines(("class", *numbers, counted), rows)
