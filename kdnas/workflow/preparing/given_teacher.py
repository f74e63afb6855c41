"""The teacher as a user gave it: whether it will be fine-tuned, and the head it begins with."""

from __future__ import annotations

from kdnas.runs.context import Context
from kdnas.runtime.console import say
from kdnas.teachers.load import Teacher, load_config, with_fresh_head
from kdnas.teachers.trained_head import head_of_another_task
from kdnas.workflow.preparing.inputs import Inputs


def is_tuned(context: Context, inputs: Inputs, given: Teacher) -> bool:
    """Whether the teacher will be fine-tuned, as `prepare_teacher` decides."""
    settings = context.settings
    if settings.teacher_as_is or given.recorded:
        return False
    if settings.fine_tune or not given.has_head:
        return True
    if settings.label_map:
        return False
    return settings.fresh_head or bool(head_of_another_task(inputs.config, inputs.data.spec))


def with_own_head(context: Context, inputs: Inputs, teacher: Teacher) -> Teacher:
    """The teacher, its head replaced by a fresh one where it was trained for other classes."""
    settings = context.settings
    fixed = settings.teacher_as_is or settings.label_map or teacher.recorded
    if not teacher.has_head or fixed:
        return teacher
    if settings.fresh_head:
        return with_fresh_head(teacher, settings.seed)
    outputs = head_of_another_task(load_config(teacher.name), inputs.data.spec)
    if outputs is None:
        return teacher
    labels = ", ".join(inputs.data.spec.labels or ())
    say(
        f"the teacher's head predicts {outputs}, this task has {labels}: training a new head "
        "(--teacher-as-is keeps the old one, class by class)"
    )
    return with_fresh_head(teacher, settings.seed)
