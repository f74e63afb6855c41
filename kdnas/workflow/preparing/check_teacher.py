"""What a teacher knows of its task, found out before anything is built on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from kdnas.distillation.training import predict
from kdnas.errors import KdnasError
from kdnas.evaluation.answers import (
    OUTPUTS_STEP,
    keep_threshold,
    take_unit,
    telling_rows,
    threshold_for,
)
from kdnas.evaluation.answers import STEP as THRESHOLD_STEP
from kdnas.evaluation.scores import baseline, scores_and_intervals, scores_of_logits
from kdnas.runs.context import Context, run_step
from kdnas.runtime.console import say
from kdnas.runtime.formatting import several
from kdnas.runtime.shown import shown
from kdnas.tasks.metrics import answers_of, not_told
from kdnas.tasks.types import THRESHOLD, UNSCALED, LabelScale, threshold_of
from kdnas.teachers.fine_tune import scale_of
from kdnas.teachers.head import to_standard_units
from kdnas.teachers.load import Teacher
from kdnas.workflow.preparing.floor import floor
from kdnas.workflow.preparing.inputs import Inputs
from kdnas.workflow.preparing.scored_steps import key_of_scores
from kdnas.workflow.preparing.selection_rows import selection_rows

# Rows that a teacher writes texts for before it writes all of them.
SAMPLE = 64
SCORES = "evaluate teacher"
PACE = "seconds_per_1000"


def fit_outputs(context: Context, inputs: Inputs, teacher: Teacher, *, given: bool) -> None:
    """Brings a teacher's outputs to standard units, in place; a head from elsewhere is checked.

    Its outputs may be in another unit than the labels: that is made good. They may stand in
    another order: that is refused.

    Args:
        context: Of the run.
        inputs: Of the run.
        teacher: Its outputs are in the unit of the labels, as far as they are known.
        given: Whether its head was trained elsewhere.

    Raises:
        KdnasError: Another order of the outputs fits the labels far better.
    """
    scale = scale_of(inputs.data.train)
    if not teacher.gives_logits or teacher.scale != UNSCALED:  # nothing to fit, or fitted before
        return
    if teacher.recorded:
        if teacher.has_head:
            to_standard_units(teacher.model, scale)
        teacher.scale = scale
        return
    if given and inputs.data.spec.task_type.has_outputs:
        key = {"teacher": inputs.source, "label_map": context.settings.label_map}
        key["metric"] = inputs.data.spec.metrics[0]
        found = run_step(context, OUTPUTS_STEP, key, lambda: _compare(context, inputs, teacher))
        if found["order"] and not context.settings.force:
            raise _wrong_order(inputs, teacher, found)
        take_unit(teacher.model, LabelScale(*found["unit"]), "the teacher's outputs")
    to_standard_units(teacher.model, scale)
    teacher.scale = scale


def fit_threshold(context: Context, inputs: Inputs, teacher: Teacher) -> None:
    """Gives a teacher's config the threshold of its answers, for types of tasks that have one."""
    if not (teacher.gives_logits and inputs.data.spec.task_type.has_threshold):
        return
    rows, exact = selection_rows(inputs.data, context.settings), context.runtime.exact
    learnt = inputs.data.train
    key = {"teacher": inputs.source, "label_map": context.settings.label_map}

    def choose() -> float | None:
        if teacher.recorded:
            return threshold_for(rows.teacher_logits, rows, learnt)
        return keep_threshold(teacher.model, rows, exact, teacher.pad_id, learnt)

    chosen = run_step(context, THRESHOLD_STEP, key, choose)
    setattr(teacher.model.config, THRESHOLD, chosen)


def check_teacher(context: Context, inputs: Inputs, teacher: Teacher) -> None:
    """Scores a teacher and shows it; refuses one that is not clearly better than a constant.

    Where a type of tasks has no constant answer, the floor stands in for it.

    Raises:
        KdnasError: It is not, and `force` is not set.
    """
    _check_sample(context, inputs, teacher)
    found, spec = evaluated_teacher(context, inputs, teacher), inputs.data.spec
    constant = (found["baseline"] or floor(context, inputs)) if found["scores"] else None
    if not constant:
        return
    main, scores = spec.main_score, found["scores"]
    if main not in scores:
        raise not_told(spec)
    low, high = found["intervals"].get(main, (scores[main], scores[main]))
    told = (
        f"{main} {scores[main]:.4f} (95% interval {low:.3f} to {high:.3f}), "
        f"{constant['scores'][main]:.4f} for {constant['name']}"
    )
    say(f"teacher: {told}")
    clear = found["skill"] is None or found["skill"][0] > 0
    if (clear and scores[main] >= constant["scores"][main]) or context.settings.force:
        return
    raise _not_better(
        context,
        inputs,
        teacher,
        "one constant answer" if found["baseline"] else "a simple model",
        told,
    )


def _check_sample(context: Context, inputs: Inputs, teacher: Teacher) -> None:
    """Refuses a teacher that writes nonsense after SAMPLE rows: all would take it long.

    Raises:
        KdnasError: Its score on them is surely below the floor's, and `force` is not set.
    """
    spec, settings = inputs.data.spec, context.settings
    split, data = next(iter(inputs.data.evaluation.items()))
    slow = spec.task_type.generates and teacher.gives_logits and not teacher.recorded
    if not slow or settings.force or len(data) < 4 * SAMPLE or is_evaluated(context, inputs):
        return
    simple = floor(context, inputs)
    if simple is None:
        return
    some = {split: data.take(np.linspace(0, len(data) - 1, SAMPLE).round().astype(int))}
    exact, main = context.runtime.exact, spec.main_score
    found = scores_and_intervals(teacher.model, some, spec, exact, teacher.pad_id, teacher.scale)
    score, (low, high) = found["scores"][main], found["intervals"][main]
    if high < simple["scores"][main]:
        told = (
            f"{main} {score:.4f} (95% interval {low:.3f} to {high:.3f}) on {SAMPLE} of "
            f"{len(data):,} rows, {simple['scores'][main]:.4f} for {simple['name']}"
        )
        raise _not_better(context, inputs, teacher, "a simple model", told)


def _not_better(
    context: Context, inputs: Inputs, teacher: Teacher, what: str, told: str
) -> KdnasError:
    """Says that a teacher is not clearly better than something, and what to do."""
    if teacher.recorded:
        remedy = "its file may be of another task, or name labels in another order"
    elif (context.run.folder / "teacher" / "config.json").exists():
        run, epochs = shown(context.run.folder), 3 * context.settings.teacher_epochs
        remedy = (
            f"train it longer (kdnas resume {run} --teacher-epochs {epochs:g}), or otherwise "
            "(--teacher-lr)"
        )
    else:
        kind, trained = inputs.data.spec.task_type, "--fine-tune trains it on this one"
        if kind.has_outputs:
            trained = "--fresh-head trains a new one"
        remedy = f"its head may be untrained, or for another task: {trained}"
    return KdnasError(
        f"the teacher is not clearly better than {what}: {told}; {remedy}; --force goes on all the "
        "same"
    )


def evaluated_teacher(context: Context, inputs: Inputs, teacher: Teacher) -> dict[str, Any]:
    """What `scores_and_intervals` says of it, and the `baseline`.

    Empty where it has no head for the task, and of a black box where its file lacks rows that are
    scored; the baseline is None for types that have none. Without the seconds where another
    machine took them: its scores are the same there, its pace is not.
    """
    if not teacher.gives_logits:
        return {"scores": {}, "intervals": {}, "skill": None, "rows": {}, "baseline": None}
    key = _scores_key(context, inputs)
    found = run_step(context, SCORES, key, lambda: _evaluate(context, inputs, teacher))
    here = context.machine
    same = all(found.get(name) == value for name, value in here.items())
    return found if same else {**found, PACE: None}


def is_evaluated(context: Context, inputs: Inputs) -> bool:
    """Whether the run has its teacher's scores."""
    return context.run.step(SCORES, _scores_key(context, inputs)).done()


def _scores_key(context: Context, inputs: Inputs) -> dict[str, Any]:
    key = {"teacher": inputs.source, "label_map": context.settings.label_map, "rows": True}
    return key_of_scores(context, SCORES, key, inputs.data.spec, inputs.data.evaluation)


def _evaluate(context: Context, inputs: Inputs, teacher: Teacher) -> dict[str, Any]:
    data, exact, model = inputs.data, context.runtime.exact, teacher.model
    pad_id, scale = teacher.pad_id, teacher.scale
    if teacher.recorded:
        found = _recorded_scores(inputs, threshold_of(model.config))
    else:
        found = scores_and_intervals(model, data.evaluation, data.spec, exact, pad_id, scale)
    constant = baseline(data.spec, [data.train], data.evaluation)
    return {**found, "baseline": constant, **context.machine}


def _recorded_scores(inputs: Inputs, threshold: float | None) -> dict[str, Any]:
    """Those of a black-box teacher's predictions; none unless all rows that are scored have one."""
    parts = inputs.data.evaluation
    logits = {split: part.teacher_logits for split, part in parts.items()}
    known = {split: each for split, each in logits.items() if each is not None}
    if len(known) < len(parts):
        say("the teacher's file lacks rows that are scored: the report has no scores of it")
        known = {}
    return scores_of_logits(inputs.data.spec, parts, known, threshold)


def _compare(context: Context, inputs: Inputs, teacher: Teacher) -> dict[str, Any]:
    """How the outputs of a head from elsewhere belong to the labels of some training rows."""
    data, kind = inputs.data, inputs.data.spec.task_type
    rows = telling_rows(len(data.train), context.settings.seed)
    some, exact = data.train.take(rows), context.runtime.exact
    logits = predict(teacher.model, some, exact, pad_id=teacher.pad_id).numpy()
    labels = some.labels
    assert labels is not None
    order = kind.better_order(logits, labels)
    found: dict[str, Any] = {
        "rows": len(rows),
        "order": order,
        "unit": kind.unit_of(logits, labels),
    }
    if order:
        metric, spec = data.spec.metrics[0], data.spec
        found["metric"] = metric
        found["scores"] = [
            spec.metric(metric)(*answers_of(spec, part, some))
            for part in (logits, logits[:, order])
        ]
    return found


def _wrong_order(inputs: Inputs, teacher: Teacher, found: dict[str, Any]) -> KdnasError:
    before, after = found["scores"]
    labels = ", ".join(inputs.data.spec.labels or ())
    order = ",".join(str(teacher.order[i] if teacher.order else i) for i in found["order"])
    return KdnasError(
        f"the teacher's outputs stand in another order than the labels ({labels}): "
        f"{found['metric']} on "
        f"{several(found['rows'], 'training row')} is {before:.3f}, with the outputs in the order "
        f"{order} {after:.3f}; give --label-map {order}, --fresh-head to train a new head, or "
        "--force to keep the order"
    )
