"""Keys of steps whose results are scores: those of other metrics are computed anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kdnas.runs.context import Context
from kdnas.tasks import TaskSpec
from kdnas.tasks.metrics import scored_by


def key_of_scores(
    context: Context, name: str, key: Mapping[str, Any], spec: TaskSpec, splits: Iterable[str]
) -> dict[str, Any]:
    """The key of a step of scores, with the metrics of the task.

    Earlier runs have none in it: such a step counts where its scores are of these metrics.

    Args:
        context: Of the run.
        name: Of the step, whose result has `scores` by name, those of its `baseline` if it has one.
        key: All else that decides the result.
        spec: The task.
        splits: What is scored.
    """
    by = scored_by(spec, splits)
    step = context.run.step(name, key)
    if "positive" not in by and step.done():
        found = step.read() or {}
        before = list((found.get("baseline") or found).get("scores", ()))
        # The first metric chooses a constant answer.
        if not before or (before[0], {*before}) == (by["metrics"][0], {*by["metrics"]}):
            return dict(key)
    return {**key, **by}
