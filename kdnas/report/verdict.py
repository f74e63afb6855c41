"""The outcome of a run in one sentence that claims no more than the evaluation shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import hypot

from kdnas.report.model import EvaluatedModel
from kdnas.runtime.formatting import several

UNKNOWN = " (how much of this is noise was not measured)"


def verdict(
    teacher: EvaluatedModel,
    student: EvaluatedModel,
    controls: Mapping[str, EvaluatedModel],
    metric: str,
    examples: Mapping[str, int],
) -> str:
    """The share of the teacher's score kept, the speed-up, and how the controls compare.

    Args:
        teacher: With or without scores.
        student: What the run found.
        controls: What it is compared with, by name.
        metric: The main score's key; higher is better.
        examples: Evaluated rows by split; may be empty.
    """
    score, against = student.scores[metric], teacher.scores.get(metric, 0.0)
    first = f"The student reaches {metric} {score:.4f}"
    for split, count in examples.items():
        if len(examples) == 1 or metric.endswith(f"_{split.partition('_')[2]}"):
            first += f" on {several(count, 'example')}"
    if against > 0:
        first += f", {score / against:.1%} of its teacher's {against:.4f},"
    first += f" at {student.speedup:.2f} times its teacher's speed"
    groups: dict[str, list[str]] = {}
    scored = {name: control for name, control in controls.items() if metric in control.scores}
    for name, control in scored.items():
        groups.setdefault(comparison_word(student, control, metric), []).append(name)
    if not groups:
        return f"{first}."
    told = "; ".join(f"{word} {_listed(names)}" for word, names in groups.items())
    known = all(metric in model.intervals for model in (student, *scored.values()))
    return f"{first}; it is {told}{'' if known else UNKNOWN}."


def comparison_word(student: EvaluatedModel, control: EvaluatedModel, metric: str) -> str:
    """`better than`, `worse than`, or `within noise of` a control.

    Noise is the sampling of the evaluated rows: two scores differ where they are further apart than
    the root of the summed squares of their intervals' half-widths, which is a 95% test of two
    independent samples (conservative here, as both models see the same rows). One training of each
    says nothing about other seeds.
    """
    difference = student.scores[metric] - control.scores[metric]
    halves = [
        (model.intervals[metric][1] - model.intervals[metric][0]) / 2
        for model in (student, control)
        if metric in model.intervals
    ]
    if len(halves) == 2 and abs(difference) <= hypot(*halves):
        return "within noise of"
    if difference == 0:
        return "as good as"
    return "better than" if difference > 0 else "worse than"


def _listed(names: Sequence[str]) -> str:
    quoted = [f'"{name}"' for name in names]
    return " and ".join(filter(None, (", ".join(quoted[:-1]), quoted[-1])))
