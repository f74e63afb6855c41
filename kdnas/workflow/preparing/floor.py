"""What a simple model reaches on a run's task: students and teachers should be above it."""

from __future__ import annotations

from typing import Any

from kdnas.evaluation.floor import floor_model
from kdnas.evaluation.scores import scored_answers
from kdnas.runs.context import Context, run_step
from kdnas.tasks.metrics import known_rows
from kdnas.workflow.preparing.inputs import Inputs
from kdnas.workflow.preparing.scored_steps import key_of_scores


def floor(context: Context, inputs: Inputs) -> dict[str, Any] | None:
    """`name`, `scores` and `rows` of a simple model, trained on the training rows; computed once.

    None for types of tasks that have none.
    """
    data, seed = inputs.data, context.settings.seed
    spec = data.spec

    def compute() -> dict[str, Any] | None:
        found = floor_model(spec, data.examples, seed)
        if found is None:
            return None
        result: dict[str, Any] = {"name": found[0], "scores": {}, "intervals": {}, "rows": {}}
        for split, examples in data.scored.items():
            said = known_rows(spec, found[1](examples), spec.task_type.truths(examples))
            for name, part in scored_answers(spec, said, split).items():
                result[name] |= part
        return result

    key = key_of_scores(context, "floor", {"seed": seed}, spec, data.scored)
    return run_step(context, "floor", key, compute)
