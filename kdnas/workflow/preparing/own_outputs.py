"""What students learn from on the task's own rows, which their teacher knows by heart."""

from __future__ import annotations

import torch
from torch import Tensor

from kdnas.config import Settings, every_recipe
from kdnas.distillation.schedule import Schedule
from kdnas.recipes.stages import reads_own_outputs, teacher_schedule
from kdnas.runs.context import Context
from kdnas.runtime.console import silently
from kdnas.runtime.device import Runtime
from kdnas.tasks.encode import EncodedExamples
from kdnas.teachers.load import Teacher
from kdnas.teachers.out_of_fold import folds_left, out_of_fold
from kdnas.workflow.preparing.given_teacher import is_tuned, with_own_head
from kdnas.workflow.preparing.inputs import Inputs, load_given_teacher
from kdnas.workflow.preparing.selection_rows import for_students

STEP = "teachers of folds"


def own_outputs(
    context: Context, inputs: Inputs, teacher: Teacher, recipe: Settings
) -> Tensor | None:
    """Outputs for the rows that students train on, by teachers that have not seen them.

    In standard units, shape (units, outputs). None where the teacher itself says them: one fold, a
    teacher that is not fine-tuned here, or a recipe that does not ask.
    """
    if not _asked(context, recipe):
        return None
    if not is_tuned(context, inputs, load_given_teacher(context, inputs, afresh=True)):
        return None
    with context.run.timed(STEP):
        found = out_of_fold(lambda: _fresh(context, inputs), *_how(context, inputs))
    return torch.from_numpy(teacher.scale.standard(found.numpy()))


def teachers_left(context: Context, inputs: Inputs) -> int:
    """How many teachers are still to be fine-tuned for those outputs."""
    if not any(_asked(context, recipe) for recipe in every_recipe(context.settings).values()):
        return 0
    if not is_tuned(context, inputs, load_given_teacher(context, inputs, afresh=True)):
        return 0
    return folds_left(_fresh(context, inputs), *_how(context, inputs))


def _asked(context: Context, recipe: Settings) -> bool:
    several = context.settings.teacher_folds > 1 and not context.settings.teacher_predictions
    return several and any(map(reads_own_outputs, recipe.full_stages))


def _fresh(context: Context, inputs: Inputs) -> Teacher:
    """The teacher before its fine-tuning."""
    with silently():
        given = load_given_teacher(context, inputs, afresh=True)
        return with_own_head(context, inputs, given)


def _how(context: Context, inputs: Inputs) -> tuple[EncodedExamples, int, Schedule, Runtime]:
    """The rows, in how many parts, and how a teacher is fine-tuned on all parts but one."""
    settings, rows = context.settings, for_students(inputs.data, context.settings).train
    folds = min(settings.teacher_folds, rows.row_count)
    return rows, folds, teacher_schedule(settings), context.runtime
