"""The outcome of a run in one sentence that claims no more than the evaluation shows."""

from __future__ import annotations

from math import hypot

from kdnas.report.model import EvaluatedModel, Report
from kdnas.runtime.formatting import several

UNKNOWN = " (how much of this is noise was not measured)"


def verdict(report: Report) -> str:
    """The share of the teacher's score kept, the speed-up, and how the controls compare."""
    metric, student = report.main_score, report.student
    score, against = student.scores[metric], report.teacher.scores.get(metric, 0.0)
    first = f"The student reaches {metric} {score:.4f}"
    for split, count in report.examples.items():
        if len(report.examples) == 1 or metric.endswith(f"_{split.partition('_')[2]}"):
            first += f" on {several(count, 'example')}"
    if against > 0:
        first += f", {score / against:.1%} of its teacher's {against:.4f},"
    first += f" at {student.speedup:.2f} times its teacher's speed"
    if (constant := report.baseline) and score <= constant.scores[metric]:
        first = (
            f'The student knows nothing of the task: "{constant.name}" reaches {metric} '
            f"{constant.scores[metric]:.4f}. {first}"
        )
    groups: dict[str, list[str]] = {}
    controls = {name: model for name, model in report.models[2:] if metric in model.scores}
    for name, control in controls.items():
        groups.setdefault(comparison_word(student, control, metric), []).append(f'"{name}"')
    if not groups:
        return f"{first}."
    told = "; ".join(
        f"{word} {' and '.join(filter(None, (', '.join(names[:-1]), names[-1])))}"
        for word, names in groups.items()
    )
    known = all(metric in model.intervals for model in (student, *controls.values()))
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
